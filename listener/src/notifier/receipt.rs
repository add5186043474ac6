//! What a notifier returns for a notification that it accepted: whether the broker has it, or the
//! spool. Made by `send.rs`.

/// Where a notification is that a notifier has accepted. A crash of this program does not lose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Receipt {
    /// For each topic a queue has it: persistent, and confirmed by the broker.
    Confirmed,
    /// For some topics it is in the notifier's spool, on the disk of this machine, and is sent to the
    /// broker as soon as the broker accepts it. A loss of the disk loses it.
    Spooled,
}
