//! The spool: what the broker does not take for now is kept on this machine's disk, and sent
//! in order once it does. Its options and the notifier's hold on it are here; `keeper.rs` is
//! its task, `store.rs` its directory. `send.rs` decides what goes to it.

#[cfg(test)]
mod faults;
mod files;
mod keeper;
mod options;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::notifier::error::SpoolError;
use crate::notifier::message::OutgoingMessage;
use crate::notifier::spool::keeper::{Append, Disk, Keeper};
pub use crate::notifier::spool::options::{SpoolOptions, Spooled, WhenFull};
use crate::notifier::spool::store::Store;
use crate::notifier::window::Permit;
use crate::transport::{Transport, executor};

/// The hold of a notifier on its spool.
#[derive(Debug)]
pub(super) struct Spool {
    appends: mpsc::UnboundedSender<Append>,
    state: watch::Receiver<Spooled>,
    after: Duration,
    max_bytes: u64,
    /// Who waits for room.
    turn: Semaphore,
}

impl Spool {
    /// Locks the directory and starts the task. `timeout`: the longest that one attempt to send may
    /// take.
    pub(super) fn open(
        options: SpoolOptions,
        transport: Transport,
        timeout: Duration,
    ) -> Result<Self, SpoolError> {
        executor::check().map_err(|_| SpoolError::NoRuntime)?;
        let runtime = Handle::current();
        let SpoolOptions { after, max_bytes, at_once, .. } = options;
        let disk = Disk::new(Store::open(options)?);
        let (appends, receiver) = mpsc::unbounded_channel();
        let state = disk.state();
        runtime.spawn(Keeper::new(disk, transport, timeout, at_once, receiver).run());
        Ok(Self { appends, state, after, max_bytes, turn: Semaphore::new(1) })
    }

    pub(super) fn spooled(&self) -> Spooled {
        *self.state.borrow()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.borrow().waiting == 0
    }

    /// How long the broker may take, of so much time.
    pub(super) fn patience(&self, time: Duration) -> Duration {
        self.after.min(time / 2)
    }

    /// Writes the messages of a notification behind what waits, and waits for room if there is
    /// none. `Ok`: they survive a crash. `Full`: they are not written, and will not be. Their place
    /// in the window is free once the task has done with them, however long that takes.
    pub(super) async fn append(
        &self,
        messages: Vec<OutgoingMessage>,
        permit: Permit,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let (messages, permit) = (Arc::from(messages), Arc::new(permit));
        let mut written = self.write(&messages, &permit, deadline).await;
        // One after the other, so that not all try again whenever there is room for one.
        let mut turn = None;
        while let Err(SpoolError::Full { size, limit, .. }) = written
            && size <= limit
        {
            let room = async {
                if turn.is_none() {
                    turn = self.turn.acquire().await.ok();
                }
                self.room(size).await
            };
            match timeout_at(deadline, room).await {
                // Another call may take it first.
                Ok(room) => room?,
                Err(_) => break,
            }
            written = self.write(&messages, &permit, deadline).await;
        }
        written
    }

    async fn write(
        &self,
        messages: &Arc<[OutgoingMessage]>,
        permit: &Arc<Permit>,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let (told, written) = oneshot::channel();
        let (messages, permit) = (Arc::clone(messages), Arc::clone(permit));
        // The notifier's window bounds how many wait here.
        let handed_in = self.appends.send(Append { messages, permit, told });
        handed_in.map_err(|_| SpoolError::NoRuntime)?;
        let written = timeout_at(deadline, written).await;
        // From here on it may be written, whoever still waits for it.
        written.map_or(Err(SpoolError::TimedOut), |told| told.unwrap_or(Err(SpoolError::NoRuntime)))
    }

    /// Waits for room for so many bytes.
    async fn room(&self, size: u64) -> Result<(), SpoolError> {
        let mut state = self.state.clone();
        let there_is_room = |state: &Spooled| state.bytes.saturating_add(size) <= self.max_bytes;
        let waited = state.wait_for(there_is_room).await;
        waited.map(|_| ()).map_err(|_| SpoolError::NoRuntime)
    }

    /// Waits until nothing waits, or the time is over.
    pub(super) async fn drained(&self, time: Duration) {
        let mut state = self.state.clone();
        // That the task is gone, or the time over, changes nothing for who closes.
        let _ = timeout(time, state.wait_for(|state| state.waiting == 0)).await;
    }
}
