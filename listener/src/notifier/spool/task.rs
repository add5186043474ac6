//! The task of a spool. It owns the store, writes the notifications of calls, several at a time, and sends
//! the stored messages, oldest first, until they are confirmed. It ends with the last notifier; unsent
//! messages stay on disk. `Spool::open` starts it.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::options::Spooled;
use super::store::{Id, Store};
use crate::notifier::error::SpoolError;
use crate::notifier::message::OutgoingMessage;
use crate::notifier::retry::Retry;
use crate::notifier::window::Permit;
use crate::transport::Transport;
use crate::transport::driver::Route;
use crate::transport::error::{Blame, SendError};

/// How many calls may share one write.
const AT_ONCE: usize = 256;

/// After this many refusals in a row, while others are accepted, a message is moved aside.
const MOST_REFUSALS: u32 = 5;

/// The first and the longest delay between two attempts.
const DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How many messages of a refused route are moved aside before a message with another route has to be
/// confirmed again, and how long after the last of them the route counts as refused.
const REFUSED_FOR: (u32, Duration) = (256, Duration::from_secs(10 * 60));

/// The messages of a notification to be written, their permit of the window, and where to send the result.
pub(super) struct Append {
    pub(super) messages: Arc<[OutgoingMessage]>,
    pub(super) permit: Arc<Permit>,
    pub(super) reply: oneshot::Sender<Result<(), SpoolError>>,
}

/// The store and its published state.
#[derive(Clone)]
pub(super) struct Disk {
    store: Arc<Mutex<Store>>,
    state: watch::Sender<Spooled>,
}

pub(super) struct SpoolTask {
    disk: Disk,
    transport: Transport,
    /// The timeout of one attempt to send.
    timeout: Duration,
    /// How many messages are sent at once, as long as none fails.
    max_in_flight: usize,
    appends: mpsc::UnboundedReceiver<Append>,
    /// How often in a row the oldest message could not be sent, for any reason.
    failures: u32,
    /// The message that was refused for a reason of its own, and how often in a row.
    refusals: Option<(Id, u32)>,
    /// Whether to find out if a mistake affects all messages, or only the route of the oldest.
    probes_other: bool,
    examined: Option<Examined>,
    /// Routes that are refused because of such a mistake, while others are accepted.
    refused: HashMap<Route, Refused>,
}

/// A route that is refused while others are accepted.
struct Refused {
    last: Instant,
    /// How many more of its messages are moved aside before a message with another route has to be confirmed.
    left: u32,
}

impl Refused {
    fn now() -> Self {
        Self { last: Instant::now(), left: REFUSED_FOR.0 }
    }

    /// Counts another refused message. Returns whether it counts as refused for the same reason.
    fn again(&mut self) -> bool {
        if self.left == 0 || self.last.elapsed() > REFUSED_FOR.1 {
            return false;
        }
        self.left -= 1;
        self.last = Instant::now();
        true
    }
}

/// An attempt to send a message.
struct Attempt {
    id: Id,
    route: Route,
    result: Result<(), SendError>,
}

/// The result of sending.
struct Sent {
    /// The oldest messages, in their order; empty if the store is.
    oldest: Vec<Attempt>,
    examined: Option<Examined>,
    /// Whether a message with another route was confirmed between two attempts for the oldest message.
    is_other_accepted: bool,
}

type Sending = BoxFuture<'static, Result<Sent, SpoolError>>;

/// The oldest message, and how many messages after it have been searched for another route.
type Examined = (Id, usize);

/// Which messages are sent.
#[derive(Clone, Copy)]
enum Choice {
    /// This many of the oldest.
    Oldest(usize),
    /// The oldest, and if it is refused, the next one with another route that was not tried yet, to find
    /// out whether that is accepted. The other one is sent again in its turn; the oldest is sent again at
    /// once, as the mistake may have been fixed before the other one was accepted.
    WithOther(Option<Examined>),
}

impl SpoolTask {
    pub(super) fn new(
        disk: Disk,
        transport: Transport,
        timeout: Duration,
        max_in_flight: usize,
        appends: mpsc::UnboundedReceiver<Append>,
    ) -> Self {
        Self {
            disk,
            transport,
            timeout,
            max_in_flight,
            appends,
            failures: 0,
            refusals: None,
            probes_other: false,
            examined: None,
            refused: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut appends = Vec::new();
        let mut sending = None;
        loop {
            if sending.is_none() && self.disk.state.borrow().waiting > 0 {
                sending = Some(self.send_oldest(Duration::ZERO));
            }
            tokio::select! {
                biased;
                sent = poll(&mut sending) => {
                    sending = self.sent(sent).await.map(|delay| self.send_oldest(delay));
                }
                taken = self.appends.recv_many(&mut appends, AT_ONCE) => {
                    if taken == 0 {
                        return;
                    }
                    self.append(std::mem::take(&mut appends)).await;
                }
            }
        }
    }

    async fn append(&self, mut appends: Vec<Append>) {
        // A call that no longer waits returned that its notification may or may not be written.
        appends.retain(|append| !append.reply.is_closed());
        if appends.is_empty() {
            return;
        }
        let messages: Vec<_> = appends.iter().map(|append| Arc::clone(&append.messages)).collect();
        let count = messages.len();
        let written = self.disk.run(move |store| store.append(&messages)).await;
        let written = written.unwrap_or_else(|error| vec![Err(error); count]);
        for (Append { reply, permit, .. }, written) in appends.into_iter().zip(written) {
            drop(permit);
            let _ = reply.send(written);
        }
    }

    /// Sends the oldest messages after a delay; only one if the last attempt failed.
    fn send_oldest(&self, delay: Duration) -> Sending {
        let (disk, transport, timeout) = (self.disk.clone(), self.transport.clone(), self.timeout);
        let choice = match self.failures {
            0 => Choice::Oldest(self.max_in_flight),
            _ if self.probes_other => Choice::WithOther(self.examined),
            _ => Choice::Oldest(1),
        };
        Box::pin(async move {
            if !delay.is_zero() {
                sleep(delay).await;
            }
            let (messages, other, examined) =
                disk.run(move |store| choose(store, choice)).await??;
            let send = async |message: &OutgoingMessage| {
                transport.send(message.outgoing(timeout, Retry::UntilTimeout)).await
            };
            let sends = messages.iter().map(async |(id, message)| Attempt {
                id: *id,
                route: message.route(),
                result: send(message).await,
            });
            let mut oldest = join_all(sends).await;
            let mut is_other_accepted = false;
            if let (Some(other), [first], [(_, message)]) = (&other, &mut oldest[..], &messages[..])
                && first.result.is_err()
                && send(other).await.is_ok()
            {
                first.result = send(message).await;
                is_other_accepted = true;
            }
            Ok(Sent { oldest, examined, is_other_accepted })
        })
    }

    /// Processes the results. Returns a delay if the same message has to be sent again. Messages after a
    /// failed one are sent again, even if they were confirmed.
    async fn sent(&mut self, sent: Result<Sent, SpoolError>) -> Option<Duration> {
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => return Some(self.delay(&error.to_string())),
        };
        self.examined = sent.examined;
        for Attempt { id, route, result } in sent.oldest {
            let settled = match result {
                Ok(()) => {
                    self.refused.remove(&route);
                    self.refused.values_mut().for_each(|refused| refused.left = REFUSED_FOR.0);
                    self.disk.run(move |store| store.done(id)).await
                }
                Err(error) => {
                    let why = error.to_string();
                    if !self.is_given_up(id, &error, route, sent.is_other_accepted) {
                        return Some(self.delay(&why));
                    }
                    self.disk.run(move |store| store.move_aside(id, &why)).await
                }
            };
            if let Err(error) = settled {
                return Some(self.delay(&error.to_string()));
            }
            (self.failures, self.refusals) = (0, None);
            self.probes_other = false;
        }
        if self.disk.state.borrow().waiting == 0 {
            // This knowledge is outdated when there are messages again.
            self.refused.clear();
        }
        None
    }

    /// Whether to give up a message that failed, because others are accepted.
    fn is_given_up(
        &mut self,
        id: Id,
        error: &SendError,
        route: Route,
        is_other_accepted: bool,
    ) -> bool {
        let blame = error.blame();
        self.probes_other = blame == Blame::Setup
            && (self.failures.saturating_add(1) >= MOST_REFUSALS
                || self.refused.contains_key(&route));
        // The oldest may have been dropped because the spool was full.
        let refusals = self.refusals.take().filter(|(first, _)| *first == id);
        match blame {
            Blame::Nobody => false,
            Blame::Route | Blame::Message => {
                let refusals = refusals.map_or(1, |(_, refusals)| refusals + 1);
                self.refusals = Some((id, refusals));
                refusals >= MOST_REFUSALS || is_too_large(error)
            }
            Blame::Setup if is_other_accepted => {
                self.refused.insert(route, Refused::now());
                true
            }
            Blame::Setup => self.refused.get_mut(&route).is_some_and(Refused::again),
        }
    }

    /// The delay before the next attempt, after one more failure.
    fn delay(&mut self, error: &str) -> Duration {
        // Logs ever more rarely.
        if self.failures == 0 || self.failures.is_power_of_two() {
            let waiting = self.disk.state.borrow().waiting;
            tracing::warn!(error, waiting, "cannot send the messages of the spool; will try again");
        }
        let (first, longest) = DELAY;
        let delay = first.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.failures = self.failures.saturating_add(1);
        delay
    }
}

type Chosen = (Vec<(Id, OutgoingMessage)>, Option<OutgoingMessage>, Option<Examined>);

/// The oldest messages that were chosen, and the one with another route.
fn choose(store: &mut Store, choice: Choice) -> Result<Chosen, SpoolError> {
    let examined = match choice {
        Choice::Oldest(most) => return Ok((store.oldest(most)?, None, None)),
        Choice::WithOther(examined) => examined,
    };
    let oldest = store.oldest(1)?;
    let Some((id, message)) = oldest.first() else { return Ok((oldest, None, None)) };
    // The oldest may have been dropped because the spool was full.
    let known = examined.filter(|(first, _)| first == id).map_or(0, |(_, known)| known);
    let (other, examined) = store.other_route(&message.route(), known);
    // The next attempt tries another one, and after the last begins with the first again.
    let is_at_end = other.is_none() && examined == known;
    let next = if is_at_end { 0 } else { examined + usize::from(other.is_some()) };
    let examined = Some((*id, next));
    Ok((oldest, other, examined))
}

/// Whether the size is the reason, which is permanent.
const fn is_too_large(error: &SendError) -> bool {
    matches!(error, SendError::TooLarge { .. } | SendError::HeadersTooLarge { .. })
}

async fn poll(sending: &mut Option<Sending>) -> Result<Sent, SpoolError> {
    match sending {
        Some(sending) => sending.await,
        None => pending().await,
    }
}

impl Disk {
    pub(super) fn new(store: Store) -> Self {
        let state = watch::Sender::new(store.state());
        Self { store: Arc::new(Mutex::new(store)), state }
    }

    pub(super) fn state(&self) -> watch::Receiver<Spooled> {
        self.state.subscribe()
    }

    /// Runs `work` with the store on a thread that may block, and publishes the new state before it returns
    /// the result: a caller that has spooled a notification must see that the spool is not empty.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, SpoolError> {
        let Self { store, state } = self.clone();
        let work = move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(&mut store);
            state.send_replace(store.state());
            result
        };
        spawn_blocking(work).await.map_err(|_| SpoolError::NoRuntime)
    }
}
