//! What was learnt of a broker and outlives a session. What exchanges and queues of others were
//! like when they were first met: transient ones vanish with the broker, and whoever comes first
//! declares them again. If that is us, they must be as they were, for their owners would be
//! refused otherwise. And what it would not declare. Kept by the driver, asked by `topology.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::delay::Holding;
use super::failure::Fault;
use super::version::Version;

/// What can be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Exchange,
    Queue,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    /// Which exchanges and queues are durable, as far as was seen.
    durable: Mutex<HashMap<(Kind, String), bool>>,
    /// The delivery limits of queues that exist, as far as they show.
    limits: Mutex<HashMap<String, Option<u64>>>,
    /// Quorum queues are switched off, by a feature flag that an upgrade left out.
    without_quorum: AtomicBool,
}

impl Known {
    /// Whether it is durable; `None` for one that was never met.
    pub(super) fn durable(&self, kind: Kind, name: &str) -> Option<bool> {
        let known = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(kind, name.to_owned())).copied()
    }

    pub(super) fn learn(&self, kind: Kind, name: &str, durable: bool) {
        let mut known = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((kind, name.to_owned()), durable);
    }

    /// The delivery limit of a queue; `None` while it was not asked for.
    pub(super) fn limit(&self, queue: &str) -> Option<Option<u64>> {
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.get(queue).copied()
    }

    pub(super) fn learn_limit(&self, queue: &str, limit: Option<u64>) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.insert(queue.to_owned(), limit);
    }

    /// The types of queue that can hold messages back, the best first.
    pub(super) fn holdings(&self, version: Option<Version>) -> Vec<Holding> {
        let without_quorum = self.without_quorum.load(Ordering::Relaxed);
        let mut choices = Holding::choices(version).to_vec();
        choices.retain(|holding| !without_quorum || *holding != Holding::Quorum);
        choices
    }

    /// Takes note of a refusal. One for a missing feature ends the connection, so there is no
    /// second try in the same session.
    pub(super) fn refuse(&self, holding: Holding, fault: &Fault) {
        let is_missing =
            matches!(fault, Fault::Broker { text, .. } if text.contains("feature flag"));
        if holding == Holding::Quorum && is_missing {
            self.without_quorum.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_queue_that_is_switched_off_is_not_asked_for_again() {
        let known = Known::default();
        let version = Some(Version::new(3, 10));
        let refuse = |code, text: &str| {
            known.refuse(Holding::Quorum, &Fault::Broker { code, text: text.to_owned() });
            known.holdings(version)
        };
        let timed_out = refuse(541, "INTERNAL_ERROR - timed out");
        assert_eq!(timed_out, [Holding::Quorum, Holding::Classic]);
        let disabled = "INTERNAL_ERROR - the corresponding feature flag is disabled";
        assert_eq!(refuse(541, disabled), [Holding::Classic]);
    }
}
