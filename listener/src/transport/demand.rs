//! What a listener tells its driver of how it gets on: whether all that it was given is begun, and
//! whether it could begin more. Exact, though both run side by side: the driver counts what it
//! gives, the listener what it begins.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// How a listener gets on with the deliveries that a driver gives it.
#[derive(Debug, Default)]
pub struct Demand {
    all_begun: Notify,
    /// How many deliveries the driver gave.
    given: AtomicU64,
    /// How many were begun when the listener last could have begun more.
    begun: AtomicU64,
    is_watched: AtomicBool,
}

impl Demand {
    /// By the driver, before each delivery that it gives.
    pub fn gave(&self) {
        self.given.fetch_add(1, Ordering::AcqRel);
    }

    /// Until the listener has begun all that it was given. A driver may gather deliveries until
    /// then, for a short time: a wake-up for each costs more than the rest.
    pub async fn all_begun(&self) {
        self.all_begun.notified().await;
    }

    /// Whether the listener has begun all that it was given, and could begin more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.begun.load(Ordering::Acquire) == self.given.load(Ordering::Acquire)
    }

    /// By the driver: whether `all_begun` is to be told also when a delivery waits for its method,
    /// and when one gives its slot up. It costs a wake-up for each of them.
    pub fn watch(&self, is_watched: bool) {
        if self.is_watched() != is_watched {
            self.is_watched.store(is_watched, Ordering::Release);
        }
    }

    /// Whether the driver watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    /// By the listener: so many were begun, nothing waits to be, and more could be begun or not.
    pub fn begun(&self, count: u64, could_begin_more: bool) {
        if could_begin_more {
            self.begun.store(count, Ordering::Release);
        }
        self.all_begun.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_since_counts() {
        let demand = Demand::default();
        assert!(demand.is_idle());
        demand.gave();
        assert!(!demand.is_idle());
        demand.begun(1, false);
        assert!(!demand.is_idle(), "it could begin no more");
        demand.begun(1, true);
        assert!(demand.is_idle());
        // It was told of one when there were two.
        demand.gave();
        assert!(!demand.is_idle());
    }
}
