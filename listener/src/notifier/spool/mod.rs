//! The spool: notifications that the broker does not confirm are stored on the disk of this machine, and
//! sent in order later. The notifier's handle is here, the options are in `options.rs`; `task.rs` has the
//! task, `store.rs` the directory. `send.rs` decides what is spooled.

#[cfg(test)]
mod faults;
mod files;
mod options;
mod record;
mod store;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::notifier::error::SpoolError;
use crate::notifier::message::OutgoingMessage;
pub use crate::notifier::spool::options::{SpoolOptions, Spooled, WhenFull};
use crate::notifier::spool::store::Store;
use crate::notifier::spool::task::{Append, Disk, SpoolTask};
use crate::notifier::window::Permit;
use crate::transport::{Transport, executor};

/// A notifier's handle of its spool.
#[derive(Debug)]
pub(super) struct Spool {
    appends: mpsc::UnboundedSender<Append>,
    state: watch::Receiver<Spooled>,
    after: Duration,
    max_bytes: u64,
    /// Lets one call at a time wait for space.
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
        let SpoolOptions { confirm_timeout: after, max_bytes, max_in_flight, .. } = options;
        let disk = Disk::new(Store::open(options)?);
        let (appends, receiver) = mpsc::unbounded_channel();
        let state = disk.state();
        runtime.spawn(SpoolTask::new(disk, transport, timeout, max_in_flight, receiver).run());
        Ok(Self { appends, state, after, max_bytes, turn: Semaphore::new(1) })
    }

    pub(super) fn spooled(&self) -> Spooled {
        *self.state.borrow()
    }

    /// Whether it has no messages.
    pub(super) fn is_empty(&self) -> bool {
        self.state.borrow().waiting == 0
    }

    /// How long to wait for the broker, of the time that a call has left.
    pub(super) fn patience(&self, time: Duration) -> Duration {
        self.after.min(time / 2)
    }

    /// Appends the messages of a notification; waits for space if the spool is full. `Ok`: they survive a
    /// crash. `Full`: they are not written and will not be. Their permit is released when the task has
    /// processed them, however long that takes.
    pub(super) async fn append(
        &self,
        messages: Vec<OutgoingMessage>,
        permit: Permit,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let (messages, permit) = (Arc::from(messages), Arc::new(permit));
        let mut written = self.write(&messages, &permit, deadline).await;
        // One call at a time, so that not all of them try again whenever there is space for one.
        let mut turn = None;
        while let Err(SpoolError::Full { size, limit, .. }) = written
            && size <= limit
        {
            let space = async {
                if turn.is_none() {
                    turn = self.turn.acquire().await.ok();
                }
                self.space(size).await
            };
            match timeout_at(deadline, space).await {
                // Another call may use it first.
                Ok(space) => space?,
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
        let (reply, written) = oneshot::channel();
        let (messages, permit) = (Arc::clone(messages), Arc::clone(permit));
        // The notifier's window limits how many wait here.
        let queued = self.appends.send(Append { messages, permit, reply });
        queued.map_err(|_| SpoolError::NoRuntime)?;
        let written = timeout_at(deadline, written).await;
        // From here on it may be written, even if nobody waits for it any more.
        written.map_or(Err(SpoolError::TimedOut), |written| {
            written.unwrap_or(Err(SpoolError::NoRuntime))
        })
    }

    /// Waits until there is space for this many bytes.
    async fn space(&self, size: u64) -> Result<(), SpoolError> {
        let mut state = self.state.clone();
        let has_space = |state: &Spooled| state.bytes.saturating_add(size) <= self.max_bytes;
        let waited = state.wait_for(has_space).await;
        waited.map(|_| ()).map_err(|_| SpoolError::NoRuntime)
    }

    /// Waits until the spool is empty, for at most `time`.
    pub(super) async fn drained(&self, time: Duration) {
        let mut state = self.state.clone();
        // Whether it is empty, the task has ended or the time is over: the notifier is closed now.
        let _ = timeout(time, state.wait_for(|state| state.waiting == 0)).await;
    }
}
