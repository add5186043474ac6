//! How far the work on one delivery has come: the methods that are held, the copies that are due
//! and made, and for how long it may be held. Kept by `worker.rs`, who carries it on.

use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::judge::policy::Copy;
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::held::Held;
use crate::transport::driver::LONGEST_WAIT;

/// The shortest time that a delivery is held whose copies cannot be made, so that nothing spins.
const LEAST_HOLD: Duration = Duration::from_secs(1);

/// A copy that is still to be made.
pub(crate) struct Due {
    pub(crate) copy: Copy,
    /// How often those that owe it have been called.
    pub(crate) attempts: u32,
}

/// For how long a delivery may be held.
#[derive(Clone, Copy)]
pub(crate) struct Hold {
    /// When the work on it began.
    pub(crate) began: Instant,
    /// Until when, if a copy at the end of its queue can take its place then. This counts from when
    /// it was taken, as the broker does.
    pub(crate) until: Instant,
    /// Whether an order is kept, so that no copy may be put behind others.
    pub(crate) in_order: bool,
}

impl Hold {
    /// Of a delivery that has been in flight for so long.
    pub(crate) fn begins(hold: Duration, in_flight: Duration) -> Self {
        let began = Instant::now();
        let left = hold.min(LONGEST_WAIT).saturating_sub(in_flight).max(LEAST_HOLD);
        Self { began, until: began + left, in_order: false }
    }

    /// What is in order keeps its place for as long as it takes.
    pub(crate) fn until(self) -> Option<Instant> {
        (!self.in_order).then_some(self.until)
    }
}

/// What has become of the methods of a delivery so far.
pub(crate) struct Course {
    pub(crate) held: Held,
    pub(crate) due: Vec<Due>,
    /// The confirmed copies.
    pub(crate) made: Vec<Copy>,
    pub(crate) hold: Hold,
}

impl Course {
    pub(crate) fn new(hold: Hold) -> Self {
        let (held, due, made) = (Held::default(), Vec::new(), Vec::new());
        Self { held, due, made, hold }
    }

    /// Whether nothing is owed and nothing is to be made.
    pub(crate) fn is_done(&self) -> bool {
        self.held.is_empty() && self.due.is_empty()
    }

    /// Whether the copies that end the work on a delivery have to wait: a copy that is made before
    /// the last call is made again if the listener stops before that call.
    pub(crate) fn is_to_wait(&self) -> bool {
        self.held.has_pauses() || (self.hold.in_order && !self.held.is_empty())
    }

    /// The headers of a copy for all that still owe it: for everybody where they cannot be named.
    pub(crate) fn rest(&self, copy_headers: &CopyHeaders) -> CopyHeaders {
        let owed = self.owed().map(|mut owed| {
            owed.sort_unstable();
            owed.dedup();
            owed
        });
        let due = self.due.iter().map(|due| due.attempts.saturating_sub(1));
        let attempts = self.held.attempts().chain(due).min().unwrap_or(copy_headers.attempts);
        CopyHeaders { owed: owed.filter(|owed| !owed.is_empty()), attempts, ..copy_headers.clone() }
    }

    /// The methods that still owe it; `None` where they cannot be named.
    fn owed(&self) -> Option<Vec<String>> {
        let mut owed = self.held.owed()?;
        for due in &self.due {
            if due.copy.owed.is_empty() {
                return None;
            }
            owed.extend(due.copy.owed.iter().cloned());
        }
        Some(owed)
    }
}

/// Why a delivery is left before all of it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// A method gave it back.
    Requeued,
    /// The broker never takes its dead letter.
    Refused,
    /// The listener stopped, or the session is over.
    Released,
    /// It was held for as long as it may be.
    Overdue,
}
