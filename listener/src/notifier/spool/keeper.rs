//! The task of a spool: it owns the store, writes what calls hand in, several at a time, and
//! sends what waits, oldest first, until the broker has it. It ends with the last notifier;
//! what waits then stays on disk. Started by `Spool::open`.

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
use crate::notifier::window::Permit;
use crate::transport::Transport;
use crate::transport::driver::Route;
use crate::transport::error::{Blame, SendError};

/// So many calls share one write at most.
const AT_ONCE: usize = 256;

/// A message that is refused so often in a row, while others are taken, is set aside.
const PATIENCE: u32 = 5;

/// Between two tries, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// That a route is refused while others are taken is believed of so many messages, unless another
/// route is confirmed again, and for so long after the last of them.
const BELIEVED: (u32, Duration) = (256, Duration::from_secs(10 * 60));

/// A notification's messages to be written, their place in the window, and where to tell that they
/// are.
pub(super) struct Append {
    pub(super) messages: Arc<[OutgoingMessage]>,
    pub(super) permit: Arc<Permit>,
    pub(super) told: oneshot::Sender<Result<(), SpoolError>>,
}

/// The store, and what is told of it.
#[derive(Clone)]
pub(super) struct Disk {
    store: Arc<Mutex<Store>>,
    state: watch::Sender<Spooled>,
}

pub(super) struct Keeper {
    disk: Disk,
    transport: Transport,
    /// Of one try to send.
    timeout: Duration,
    /// How many messages are sent at once, as long as none fails.
    at_once: usize,
    appends: mpsc::UnboundedReceiver<Append>,
    /// How often in a row the oldest message was not sent, for any reason.
    failures: u32,
    /// The message that was refused for itself, and how often in a row.
    refusals: Option<(Id, u32)>,
    /// Whether it is to be learned if a mistake concerns all messages, or the route of the oldest alone.
    asks_other: bool,
    looked_at: Option<LookedAt>,
    /// Routes that are refused for such a mistake, while others are taken.
    refused: HashMap<Route, Refused>,
}

/// What is known of a route that is refused while others are taken.
struct Refused {
    last: Instant,
    /// How many more of its messages are set aside before another route must have been confirmed.
    left: u32,
}

impl Refused {
    fn now() -> Self {
        Self { last: Instant::now(), left: BELIEVED.0 }
    }

    /// Another message was refused: whether it is for the same reason.
    fn again(&mut self) -> bool {
        if self.left == 0 || self.last.elapsed() > BELIEVED.1 {
            return false;
        }
        self.left -= 1;
        self.last = Instant::now();
        true
    }
}

/// A message that was tried.
struct Tried {
    id: Id,
    route: Route,
    result: Result<(), SendError>,
}

/// What became of a try.
struct Sent {
    /// The oldest messages, in their order; none, if none waits.
    oldest: Vec<Tried>,
    looked_at: Option<LookedAt>,
    /// Whether a message with another route than the oldest was confirmed, between two tries of that.
    is_other_taken: bool,
}

type Sending = BoxFuture<'static, Result<Sent, SpoolError>>;

/// How many of the oldest messages have been looked at for another route, while the first is this one.
type LookedAt = (Id, usize);

/// Which messages are sent.
#[derive(Clone, Copy)]
enum Choice {
    /// So many of the oldest.
    Oldest(usize),
    /// The oldest, and if it is not taken, the next one with another route that was not looked at
    /// yet, to learn whether that is. It is sent again in its turn; and the oldest at once, as what was
    /// wrong may have been corrected before the other one was taken.
    WithOther(Option<LookedAt>),
}

impl Keeper {
    pub(super) fn new(
        disk: Disk,
        transport: Transport,
        timeout: Duration,
        at_once: usize,
        appends: mpsc::UnboundedReceiver<Append>,
    ) -> Self {
        Self {
            disk,
            transport,
            timeout,
            at_once,
            appends,
            failures: 0,
            refusals: None,
            asks_other: false,
            looked_at: None,
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
                    sending = self.sent(sent).await.map(|pause| self.send_oldest(pause));
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
        // Whoever waits no more was told that it may be written, or not.
        appends.retain(|append| !append.told.is_closed());
        if appends.is_empty() {
            return;
        }
        let messages: Vec<_> = appends.iter().map(|append| Arc::clone(&append.messages)).collect();
        let count = messages.len();
        let written = self.disk.run(move |store| store.append(&messages)).await;
        let written = written.unwrap_or_else(|error| vec![Err(error); count]);
        for (Append { told, permit, .. }, written) in appends.into_iter().zip(written) {
            drop(permit);
            let _ = told.send(written);
        }
    }

    /// Sends the oldest messages after a pause: one alone, if it failed before.
    fn send_oldest(&self, pause: Duration) -> Sending {
        let (disk, transport, timeout) = (self.disk.clone(), self.transport.clone(), self.timeout);
        let choice = match self.failures {
            0 => Choice::Oldest(self.at_once),
            _ if self.asks_other => Choice::WithOther(self.looked_at),
            _ => Choice::Oldest(1),
        };
        Box::pin(async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let (messages, other, looked_at) =
                disk.run(move |store| choose(store, choice)).await??;
            let send =
                async |message: &OutgoingMessage| transport.send(message.outgoing(timeout)).await;
            let sends = messages.iter().map(async |(id, message)| Tried {
                id: *id,
                route: message.route(),
                result: send(message).await,
            });
            let mut oldest = join_all(sends).await;
            let mut is_other_taken = false;
            if let (Some(other), [first], [(_, message)]) = (&other, &mut oldest[..], &messages[..])
                && first.result.is_err()
                && send(other).await.is_ok()
            {
                first.result = send(message).await;
                is_other_taken = true;
            }
            Ok(Sent { oldest, looked_at, is_other_taken })
        })
    }

    /// What follows from a try: a pause, if there is to be another of the same message. OutgoingMessages
    /// behind one that failed are sent again, even if they were confirmed.
    async fn sent(&mut self, sent: Result<Sent, SpoolError>) -> Option<Duration> {
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => return Some(self.pause(&error.to_string())),
        };
        self.looked_at = sent.looked_at;
        for Tried { id, route, result } in sent.oldest {
            let settled = match result {
                Ok(()) => {
                    self.refused.remove(&route);
                    self.refused.values_mut().for_each(|refused| refused.left = BELIEVED.0);
                    self.disk.run(move |store| store.done(id)).await
                }
                Err(error) => {
                    let why = error.to_string();
                    if !self.is_given_up(id, &error, route, sent.is_other_taken) {
                        return Some(self.pause(&why));
                    }
                    self.disk.run(move |store| store.set_aside(id, &why)).await
                }
            };
            if let Err(error) = settled {
                return Some(self.pause(&error.to_string()));
            }
            (self.failures, self.refusals) = (0, None);
            self.asks_other = false;
        }
        if self.disk.state.borrow().waiting == 0 {
            // What was learnt is old when something waits again.
            self.refused.clear();
        }
        None
    }

    /// Whether a message that failed is never sent, while others are.
    fn is_given_up(
        &mut self,
        id: Id,
        error: &SendError,
        route: Route,
        is_other_taken: bool,
    ) -> bool {
        let blame = error.blame();
        self.asks_other = blame == Blame::Setup
            && (self.failures.saturating_add(1) >= PATIENCE || self.refused.contains_key(&route));
        // Another one is the first if that was dropped for want of room.
        let refusals = self.refusals.take().filter(|(first, _)| *first == id);
        match blame {
            Blame::Nobody => false,
            Blame::Route | Blame::Message => {
                let refusals = refusals.map_or(1, |(_, refusals)| refusals + 1);
                self.refusals = Some((id, refusals));
                refusals >= PATIENCE || is_too_large(error)
            }
            Blame::Setup if is_other_taken => {
                self.refused.insert(route, Refused::now());
                true
            }
            Blame::Setup => self.refused.get_mut(&route).is_some_and(Refused::again),
        }
    }

    /// How long until the next try, after one more that failed.
    fn pause(&mut self, error: &str) -> Duration {
        // At first, and then ever more rarely.
        if self.failures == 0 || self.failures.is_power_of_two() {
            let waiting = self.disk.state.borrow().waiting;
            tracing::warn!(error, waiting, "cannot send what waits in the spool; trying on");
        }
        let (first, longest) = PAUSE;
        let pause = first.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

type Chosen = (Vec<(Id, OutgoingMessage)>, Option<OutgoingMessage>, Option<LookedAt>);

/// The oldest messages that were chosen, and the one with another route.
fn choose(store: &mut Store, choice: Choice) -> Result<Chosen, SpoolError> {
    let looked_at = match choice {
        Choice::Oldest(most) => return Ok((store.oldest(most)?, None, None)),
        Choice::WithOther(looked_at) => looked_at,
    };
    let oldest = store.oldest(1)?;
    let Some((id, message)) = oldest.first() else { return Ok((oldest, None, None)) };
    // Another one is the first if that was dropped for want of room.
    let known = looked_at.filter(|(first, _)| first == id).map_or(0, |(_, known)| known);
    let (other, looked_at) = store.other_route(&message.route(), known);
    // The next time another one is tried, and after the last the first again.
    let is_at_end = other.is_none() && looked_at == known;
    let next = if is_at_end { 0 } else { looked_at + usize::from(other.is_some()) };
    let looked_at = Some((*id, next));
    Ok((oldest, other, looked_at))
}

/// Whether it was measured, and is never sent.
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

    /// Works on the store where that may block, and tells the state before anybody hears of
    /// the work: who has spooled one notification must find that something waits.
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
