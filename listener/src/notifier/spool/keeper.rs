//! The task of a spool: it owns the store, writes what calls hand in, several at a time, and
//! sends what waits, oldest first, until the broker has it. It ends with the last notifier;
//! what waits then stays on disk. Started by `SpoolOptions::open`.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Spooled;
use super::store::{Id, Store};
use crate::notifier::error::SpoolError;
use crate::notifier::letter::Letter;
use crate::transport::Transport;
use crate::transport::error::{Blame, SendError};

/// So many calls share one write at most.
const AT_ONCE: usize = 256;

/// A letter that the broker refuses for itself so often in a row is set aside.
const PATIENCE: u32 = 5;

/// Between two tries, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A notification's letters to be written, and where to tell that they are.
pub(super) struct Append {
    pub(super) letters: Arc<[Letter]>,
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
    /// How many letters are sent at once, as long as none fails.
    at_once: usize,
    appends: mpsc::UnboundedReceiver<Append>,
    /// How often in a row the oldest letter was not sent, for any reason.
    failures: u32,
    /// How often in a row it was refused for itself.
    refusals: u32,
}

/// What became of the oldest letters, in their order; none, if none waits.
type Sent = Result<Vec<(Id, Result<(), SendError>)>, SpoolError>;

type Sending = BoxFuture<'static, Sent>;

impl Keeper {
    pub(super) fn new(
        disk: Disk,
        transport: Transport,
        timeout: Duration,
        at_once: usize,
        appends: mpsc::UnboundedReceiver<Append>,
    ) -> Self {
        Self { disk, transport, timeout, at_once, appends, failures: 0, refusals: 0 }
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

    async fn append(&self, appends: Vec<Append>) {
        let (letters, told): (Vec<_>, Vec<_>) =
            appends.into_iter().map(|append| (append.letters, append.told)).unzip();
        let count = letters.len();
        let written = self.disk.run(move |store| store.append(&letters)).await;
        let written = written.unwrap_or_else(|error| vec![Err(error); count]);
        for (told, written) in told.into_iter().zip(written) {
            let _ = told.send(written);
        }
    }

    /// Sends the oldest letters after a pause: one alone, if it failed before.
    fn send_oldest(&self, pause: Duration) -> Sending {
        let (disk, transport, timeout) = (self.disk.clone(), self.transport.clone(), self.timeout);
        let most = if self.failures == 0 { self.at_once } else { 1 };
        Box::pin(async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let letters = disk.run(move |store| store.oldest(most)).await??;
            let (transport, timeout) = (&transport, timeout);
            let sends = letters
                .into_iter()
                .map(async |(id, letter)| (id, transport.send(letter.outgoing(timeout)).await));
            Ok(join_all(sends).await)
        })
    }

    /// What follows from a try: a pause, if there is to be another of the same letter. Letters
    /// behind one that failed are sent again, even if they were confirmed.
    async fn sent(&mut self, sent: Sent) -> Option<Duration> {
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => return Some(self.pause(&error.to_string())),
        };
        let (done, failed) = split(sent);
        if !done.is_empty() {
            (self.failures, self.refusals) = (0, 0);
            let done = move |store: &mut Store| done.into_iter().for_each(|id| store.done(id));
            if let Err(error) = self.disk.run(done).await {
                return Some(self.pause(&error.to_string()));
            }
        }
        let (id, error) = failed?;
        self.refusals = if is_its_own(&error) { self.refusals + 1 } else { 0 };
        let why = error.to_string();
        if self.refusals < PATIENCE && !is_too_large(&error) {
            return Some(self.pause(&why));
        }
        let aside = self.disk.run(move |store| store.set_aside(id, &why)).await;
        if let Err(error) = aside {
            return Some(self.pause(&error.to_string()));
        }
        (self.failures, self.refusals) = (0, 0);
        None
    }

    /// How long until the next try, after one more that failed.
    fn pause(&mut self, error: &str) -> Duration {
        if self.failures == 0 {
            let waiting = self.disk.state.borrow().waiting;
            tracing::warn!(error, waiting, "cannot send what waits in the spool; trying on");
        }
        let (first, longest) = PAUSE;
        let pause = first.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// Those that were confirmed before the first that was not, and that one.
fn split(sent: Vec<(Id, Result<(), SendError>)>) -> (Vec<Id>, Option<(Id, SendError)>) {
    let mut done = Vec::new();
    for (id, result) in sent {
        match result {
            Ok(()) => done.push(id),
            Err(error) => return (done, Some((id, error))),
        }
    }
    (done, None)
}

/// Whether this letter is not taken, and others may be.
const fn is_its_own(error: &SendError) -> bool {
    match error.blame() {
        Blame::Route | Blame::Message => true,
        Blame::Nobody | Blame::Setup => false,
    }
}

/// Whether it was measured, and is never sent.
const fn is_too_large(error: &SendError) -> bool {
    matches!(error, SendError::TooLarge { .. } | SendError::HeadersTooLarge { .. })
}

async fn poll(sending: &mut Option<Sending>) -> Sent {
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
