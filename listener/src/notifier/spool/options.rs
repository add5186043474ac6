//! The options of a spool, with their defaults, and what a spool reports. `mod.rs` opens one with
//! these options, `store.rs` applies the limits.

use std::path::PathBuf;
use std::time::Duration;

use crate::options::declare::options;
use crate::options::value::{Directory, TIME, number};

options! {
    /// Where and how a notifier stores notifications that the broker does not confirm.
    ///
    /// The files contain whole notifications, with the secrets in payload and context, unencrypted. On Unix
    /// only their user can read them (mode 0600, directories 0700); on other systems choose a directory that
    /// only this user can read.
    ///
    /// A notification that was written to the spool is sent at least once, in the order of writing (see
    /// [`max_in_flight`](Self::max_in_flight)), across restarts of the program and power losses, as long as the disk
    /// keeps it. It may be sent twice, for example if the broker received it and the confirmation was lost.
    ///
    /// Some messages cannot be sent: the disk has corrupted them, or the broker permanently refuses them
    /// while it accepts others (too large, or five times in a row without a queue). Such a message is moved
    /// aside in a file with the extension `.aside`, this is logged at level ERROR, and the others are sent.
    /// If a segment, about 1 MiB, cannot be read five times in a row, the whole segment is moved aside. To send
    /// such a file nevertheless, change its extension to `.segment` and restart the program. No file is ever
    /// overwritten.
    ///
    /// While the spool is not empty, its oldest message is sent again and again. A transient failure, or a
    /// mistake that affects all messages (a wrong password), delays all messages after it. If a queue or an
    /// exchange cannot be declared or may not be used, and a message for another one is confirmed between two
    /// attempts, the messages for the first are moved aside: at most 256, until another message has been
    /// confirmed again. The confirmed message is sent once more. While the spool is empty, such a mistake is
    /// the error of the call, and nothing is written.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct SpoolOptions;
    table spool_table;
    setters spool_setters;

    /// The directory, which is created if it is missing; it has to be set.
    ///
    /// Only one notifier at a time can use it. It is released shortly after the last clone of that notifier is
    /// dropped, when pending writes are on disk: to build the next notifier in the same process, try again
    /// while the error is [`SpoolError::InUse`](crate::error::SpoolError::InUse). Use a local disk: other file
    /// systems may not support the lock.
    pub directory: PathBuf = [not given for PathBuf::new()] takes Directory;
    /// How many bytes of unsent messages may be stored.
    ///
    /// The files take up to about 1 MiB more; of a notification to several topics, sent messages are kept
    /// until all are sent.
    pub max_bytes: u64 = [256 MiB] takes number(1_u64);
    /// What happens to a notification when the spool is full: by default it is refused.
    pub when_full: WhenFull = [WhenFull::Refuse];
    /// How long a call waits for the broker's confirmation before it writes to the spool; at most half of the
    /// call's timeout.
    ///
    /// While the spool is not empty, calls write to it at once. With 0 every notification is written to the
    /// spool first.
    pub confirm_timeout: Duration = [5 s] takes TIME;
    /// How many messages of the spool are sent at once.
    ///
    /// With 1 they are sent strictly in order, each after the confirmation of the one before: some hundred per
    /// second. A program that constantly sends more than that needs a higher number, or its spool never
    /// empties; then up to that many neighbouring messages may be reordered. With any number a message may
    /// also be sent early, in addition to its turn: to find out whether the oldest message is refused for a
    /// reason that affects all, later ones with another topic or priority are tried.
    pub max_in_flight: usize = [1] takes number(1_usize);
}

impl SpoolOptions {
    /// The default options with this directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::default().directory(directory.into())
    }
}

/// What happens to a notification when a spool is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The call waits for space, at most until its timeout, and then fails with [`SpoolError::Full`](crate::error::SpoolError::Full).
    #[default]
    Refuse,
    /// The oldest messages are dropped and thus lost. They are counted, and logged at level ERROR.
    DropOldest,
}

/// The content of a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spooled {
    /// How many messages are to be sent: one for each topic of a notification.
    pub waiting: usize,
    /// Their bytes on disk.
    pub bytes: u64,
    /// How many messages were dropped since this notifier was built, because the spool was full.
    pub dropped: u64,
    /// How many parts were moved aside since this notifier was built. A part is a message, or a whole segment
    /// that could not be read.
    pub moved_aside: u64,
    /// How many messages were lost since this notifier was built, because their file was removed or
    /// truncated.
    pub lost: u64,
}
