//! What a notifier returns for a notification that it accepted: whether the broker has it, or the
//! spool. Made by `send.rs`.

/// What happened to a notification that a notifier accepted. A crash of this program does not lose it, except
/// for [`Local`](Self::Local).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Receipt {
    /// The broker has confirmed it for each topic: it is persistent, in at least one queue.
    Confirmed,
    /// For some topics it is in the notifier's spool, on the disk of this machine, and is sent as soon as the
    /// broker accepts it. A loss of the disk loses it.
    Spooled,
    /// It was passed to outputs without a broker only, such as `log`, or to none. Whether it survives a crash
    /// depends on them.
    Local,
}

impl Receipt {
    /// That of a notification with both: the least safe of those that concern the broker.
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Spooled, _) | (_, Self::Spooled) => Self::Spooled,
            (Self::Confirmed, _) | (_, Self::Confirmed) => Self::Confirmed,
            (Self::Local, Self::Local) => Self::Local,
        }
    }
}
