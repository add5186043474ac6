//! How far the work on one delivery has come: the calls that wait, the copies that are due or made, and
//! how long the delivery may be held. Kept by `worker.rs`.

use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::judge::policy::MessageCopy;
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::held::HeldRounds;
use crate::runtime::settle::pending::Pending;
use crate::transport::driver::MAX_TIMEOUT;

/// The shortest time for which a delivery is held whose copies cannot be made, so that nothing spins.
const SHORTEST_REMAINING_HOLD: Duration = Duration::from_secs(1);

/// The shortest time for which a delivery is held whose dead letter the broker never accepts, even if
/// `retry.hold` is less: a queue with a delivery limit would drop it after a few returns.
pub(crate) const SHORTEST_HOLD: Duration = Duration::from_secs(60);

/// A copy, due or confirmed, with how often its methods have been called.
#[derive(Debug)]
pub(crate) struct CountedCopy {
    pub(crate) copy: MessageCopy,
    /// How many attempts its methods have had, the one that led to this copy included.
    pub(crate) attempts: u32,
    /// How many before that one; `attempts` if there was none, because the body or priority is unknown.
    pub(crate) attempts_before: u32,
}

impl CountedCopy {
    /// A copy that no call led to.
    pub(crate) const fn without_a_call(copy: MessageCopy, attempts: u32) -> Self {
        Self { copy, attempts, attempts_before: attempts }
    }
}

/// How long a delivery may be held.
#[derive(Clone, Copy)]
pub(crate) struct HoldDeadline {
    /// When the work on it began.
    pub(crate) began: Instant,
    /// When the hold ends, counted from when the delivery was received, as the broker counts. Also set
    /// where order is kept: whether it applies is decided by `deadline()`, or by `suspect/` for suspects
    /// and deferred ones.
    pub(crate) until: Instant,
    /// Whether an order is kept, so that no copy may be put behind other messages.
    pub(crate) in_order: bool,
}

impl HoldDeadline {
    /// The hold of a delivery that has been in flight for this long.
    pub(crate) fn new(hold: Duration, in_flight: Duration, in_order: bool) -> Self {
        let began = Instant::now();
        let left = hold.min(MAX_TIMEOUT).saturating_sub(in_flight).max(SHORTEST_REMAINING_HOLD);
        Self { began, until: began + left, in_order }
    }

    /// The deadline; none where order is kept (an order key, or `Executor::Sequential`): a delivery then
    /// keeps its position.
    pub(crate) fn deadline(self) -> Option<Instant> {
        (!self.in_order).then_some(self.until)
    }
}

/// What has become of the methods of a delivery so far.
pub(crate) struct Progress {
    pub(crate) held: HeldRounds,
    pub(crate) due: Vec<CountedCopy>,
    /// The confirmed copies.
    pub(crate) made: Vec<CountedCopy>,
    pub(crate) hold: HoldDeadline,
}

impl Progress {
    pub(crate) fn new(hold: HoldDeadline) -> Self {
        let (held, due, made) = (HeldRounds::default(), Vec::new(), Vec::new());
        Self { held, due, made, hold }
    }

    /// Whether it is pending for no method and no copy is due.
    pub(crate) fn is_done(&self) -> bool {
        self.held.is_empty() && self.due.is_empty()
    }

    /// Whether the copies that are due wait until the last held call: one that is made before is made a second
    /// time if the listener stops before that call.
    pub(crate) fn delays_copies(&self) -> bool {
        self.held.has_delays() || (self.hold.in_order && !self.held.is_empty())
    }

    /// The headers of one copy for all pending methods.
    pub(crate) fn headers_for_pending(&self, copy_headers: &CopyHeaders) -> CopyHeaders {
        let held = self.held.rounds().map(|round| (&round.pending, round.attempts));
        // The last call is repeated, because its copy was not made: it does not count.
        let due = self.due.iter().map(|due| (&due.copy.pending, due.attempts_before));
        let attempts = held.clone().chain(due.clone()).map(|(_, attempts)| attempts).min();
        CopyHeaders {
            pending: Pending::union(held.chain(due).map(|(pending, _)| pending)),
            attempts: attempts.unwrap_or(copy_headers.attempts),
            ..copy_headers.clone()
        }
    }
}

/// Why the work on a delivery ends before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// A method or `on_failure` requeued it.
    Requeued,
    /// The broker never accepts its dead letter.
    Refused,
    /// The listener stops, or the session is over.
    Released,
    /// It was held for as long as it may be, and nothing replaces it yet.
    Overdue,
    /// A confirmed copy at the end of its queue is for the pending methods.
    Replaced,
}
