//! The options of a spool, with their defaults, and what a spool reports. `mod.rs` opens one with
//! these options, `store.rs` applies the limits.

use std::path::PathBuf;
use std::time::Duration;

/// Where and how a notifier keeps what the broker does not take for now.
///
/// Its files hold whole notifications, payload and context with what secrets they have, not
/// encrypted. On Unix they are made readable by this user only (mode 0600, directories
/// 0700); elsewhere keep the directory where only this user can read.
///
/// What is promised: a notification that was written to it is sent at least once, in the order
/// in which it was written (see [`at_once`](Self::at_once)), across restarts of the program and losses of power, as long as the
/// disk keeps it. It may be sent twice, as when the broker took it and the confirmation was
/// lost. What a disk has made unreadable, and what the broker refuses for good while it takes
/// others (too large, or five times in a row without a queue), is set aside in a file that
/// ends in `.aside`, told in the log at level ERROR, and the rest goes on: a notification that
/// is corrupt or refused, or the whole segment, about 1 MiB, if that cannot be read five times
/// in a row. To send it after all, let the ending be `.segment` and start the program again.
/// No file is overwritten.
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
    /// next one in the same process, try again while that is [`SpoolError::InUse`](crate::error::SpoolError::InUse). On a local disk:
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
    /// The call waits for room within its time, and then fails with [`SpoolError::Full`](crate::error::SpoolError::Full).
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
