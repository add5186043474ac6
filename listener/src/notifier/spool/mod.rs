//! The spool: what the broker does not take for now is kept on this machine's disk, and sent
//! in order once it does. Its options and the notifier's hold on it are here; `keeper.rs` is
//! its task, `store.rs` its directory. `send.rs` decides what goes to it.

#[cfg(test)]
mod faults;
mod files;
mod keeper;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::notifier::Notifier;
use crate::notifier::builder::NotifierBuilder;
use crate::notifier::error::SpoolError;
use crate::notifier::letter::Letter;
use crate::notifier::spool::keeper::{Append, Disk, Keeper};
use crate::notifier::spool::store::Store;
use crate::notifier::window::Place;
use crate::transport::{Transport, executor};

/// Where and how a notifier keeps what the broker does not take for now.
///
/// Its files hold whole notifications, payload and context with what secrets they have, not
/// encrypted. On Unix they are made readable by this user only (mode 0600, directories
/// 0700); elsewhere keep the directory where only this user can read.
///
/// What is promised: a notification that was written to it is sent at least once, in the order in which
/// it was written (see [`at_once`](Self::at_once)), across restarts of the program and losses of power,
/// as long as the disk keeps it. It may be sent twice, as when the broker took it and the confirmation
/// was lost. What a disk has made unreadable, and what the broker refuses for good while it takes others
/// (too large, or five times in a row without a queue), is set aside in a file that ends in `.aside`,
/// told in the log at level ERROR, and the rest goes on: a notification that is corrupt or refused, or
/// the whole segment, about 1 MiB, if that cannot be read five times in a row. To send it after all, let
/// the ending be `.segment` and start the program again. No file is overwritten.
///
/// While something waits, the oldest is tried again and again; what is transient, or a mistake
/// that concerns all (a wrong password), holds back everything behind it. Where a queue or an
/// exchange cannot be declared or may not be used, and between two tries a notification to another
/// one is confirmed, those to the first are set aside, at most 256 of them before another one must
/// have been confirmed again; the one that was confirmed is sent once more.
/// While nothing waits, such a mistake is the error of the call, and nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolOptions {
    /// Its directory: made if missing, for one notifier at a time. It is free again shortly after the
    /// last clone of that notifier is dropped, once what was being written is on disk: to build the
    /// next one in the same process, try again while that is [`SpoolError::InUse`]. On a local disk:
    /// other file systems may not keep the lock.
    pub directory: PathBuf,
    /// How many bytes may wait. The files take up to about 1 MiB more, and what was sent of a
    /// notification to several topics, while the rest of it waits. Default: 256 MiB.
    pub max_bytes: u64,
    /// What becomes of a notification for which there is no room. Default: it is refused.
    pub when_full: WhenFull,
    /// How long a call waits for the broker's confirmation before it writes to the spool; at
    /// most half of the call's time. While something waits there already, a call does not wait
    /// for the broker at all; with 0 none does, and every notification is written to the spool
    /// first. Default: 5 s.
    pub after: Duration,
    /// How many messages of the spool are sent at once. With 1 each is sent in its order, at the
    /// pace of one confirmation after the other: some hundred a second. A program that sends more
    /// than that all the time needs more, or it never gets ahead of its spool; then neighbours
    /// may change places, up to so many. With any number, some may be sent before as well as in
    /// their order: to learn whether the mistake by which the oldest is refused concerns all, later
    /// ones with another topic or priority are tried. Default: 1.
    pub at_once: usize,
}

impl SpoolOptions {
    /// The defaults, in this directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_bytes: 256 << 20,
            when_full: WhenFull::Refuse,
            after: Duration::from_secs(5),
            at_once: 1,
        }
    }
}

setters!(SpoolOptions { max_bytes: u64, when_full: WhenFull, after: Duration, at_once: usize });

/// What becomes of a notification for which a spool has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The call waits for room within its time, and then fails with [`SpoolError::Full`].
    #[default]
    Refuse,
    /// The oldest that wait are dropped, counted, and told in the log at level ERROR. They are
    /// lost.
    DropOldest,
}

/// What a spool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spooled {
    /// How many messages wait to be sent: one for each topic of a notification.
    pub waiting: usize,
    /// Their bytes on disk.
    pub bytes: u64,
    /// How many were dropped since this notifier was built, to make room.
    pub dropped: u64,
    /// How many parts were set aside since this notifier was built. A part is a message, or a
    /// whole segment that could not be read.
    pub set_aside: u64,
    /// How many messages were lost since this notifier was built, because somebody removed
    /// their file or emptied it.
    pub lost: u64,
}

impl NotifierBuilder {
    /// Writes notifications to disk while the broker is away. Default: it does not.
    ///
    /// `Ok` then means that a notification is safe at the broker or on this machine's disk:
    /// [`notify`](Notifier::notify) tells which. The notifier must be built in a tokio
    /// runtime, which has to run for as long as something is to be sent.
    ///
    /// ```
    /// use listener::options::SpoolOptions;
    /// use listener::{Context, Notifier, Transport};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("doc-spool-{}", std::process::id()));
    /// let transport = Transport::open("memory://doc-spool")?;
    /// let notifier = Notifier::builder(transport).spool(SpoolOptions::new(&directory)).build()?;
    /// notifier.info(&Context::new(), "instance.create.end", &"i-1").await?;
    /// notifier.close().await;
    /// assert_eq!(notifier.spooled().waiting, 0);
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spool(mut self, options: SpoolOptions) -> Self {
        self.spool = Some(options);
        self
    }
}

impl Notifier {
    /// What the spool holds now; nothing if there is none.
    #[must_use]
    pub fn spooled(&self) -> Spooled {
        self.settings.spool.as_ref().map(|spool| *spool.state.borrow()).unwrap_or_default()
    }
}

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

impl SpoolOptions {
    /// Takes the directory and starts the task. Each try to send may take so long.
    pub(super) fn open(self, transport: Transport, timeout: Duration) -> Result<Spool, SpoolError> {
        executor::check().map_err(|_| SpoolError::NoRuntime)?;
        let runtime = Handle::current();
        let Self { after, max_bytes, at_once, .. } = self;
        let disk = Disk::new(Store::open(self)?);
        let (appends, receiver) = mpsc::unbounded_channel();
        let state = disk.state();
        runtime.spawn(Keeper::new(disk, transport, timeout, at_once, receiver).run());
        Ok(Spool { appends, state, after, max_bytes, turn: Semaphore::new(1) })
    }
}

impl Spool {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.borrow().waiting == 0
    }

    /// How long the broker may take, of so much time.
    pub(super) fn patience(&self, time: Duration) -> Duration {
        self.after.min(time / 2)
    }

    /// Writes the letters of a notification behind what waits, and waits for room if there is
    /// none. `Ok`: they survive a crash. `Full`: they are not written, and will not be. Their place
    /// in the window is free once the task has done with them, however long that takes.
    pub(super) async fn append(
        &self,
        letters: Vec<Letter>,
        place: Place,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let (letters, place) = (Arc::from(letters), Arc::new(place));
        let mut written = self.write(&letters, &place, deadline).await;
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
            written = self.write(&letters, &place, deadline).await;
        }
        written
    }

    async fn write(
        &self,
        letters: &Arc<[Letter]>,
        place: &Arc<Place>,
        deadline: Instant,
    ) -> Result<(), SpoolError> {
        let (told, written) = oneshot::channel();
        let (letters, place) = (Arc::clone(letters), Arc::clone(place));
        // The notifier's window bounds how many wait here.
        let handed_in = self.appends.send(Append { letters, place, told });
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
