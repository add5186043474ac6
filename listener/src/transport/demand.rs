//! What a listener reports to its driver: whether it has begun every delivery that it was given, and
//! whether it could begin more. The driver counts what it gives and the listener what it begins, so
//! that a report about fewer deliveries is not mistaken for a current one.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Whether a listener needs more deliveries than its driver has given it.
///
/// A driver shares it with its listener in [`Subscribed`](crate::driver::Subscribed). It calls
/// [`gave`](Self::gave) for each delivery, and may adapt its prefetch to what it reads; one that always
/// uses the whole prefetch needs none of this.
#[derive(Debug, Default)]
pub struct Demand {
    all_begun: Notify,
    /// How many deliveries the driver gave.
    given: AtomicU64,
    /// How many were begun when the listener last could have begun more.
    begun: AtomicU64,
    is_watched: AtomicBool,
    /// How many deliveries wait for an earlier one with the same order key.
    in_order: AtomicUsize,
}

/// A delivery that waits for an earlier one with the same order key, until this is dropped.
#[derive(Debug)]
#[must_use = "it counts while it lives"]
pub(crate) struct WaitInOrder<'d>(&'d Demand);

impl Drop for WaitInOrder<'_> {
    fn drop(&mut self) {
        self.0.in_order.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Demand {
    /// Called by the driver before it sends each delivery.
    pub fn gave(&self) {
        self.given.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until the listener has begun every delivery that it was given. A driver may batch
    /// deliveries until then, for a short time: a wake-up for each costs more than the rest.
    pub async fn all_begun(&self) {
        self.all_begun.notified().await;
    }

    /// Whether the listener has begun every delivery that it was given, and has a free slot.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.begun.load(Ordering::Acquire) == self.given.load(Ordering::Acquire)
    }

    /// Called by the driver: whether `all_begun` also completes each time that a delivery waits for
    /// its method or gives up its slot. That costs a wake-up each time.
    pub fn watch(&self, is_watched: bool) {
        if self.is_watched() != is_watched {
            self.is_watched.store(is_watched, Ordering::Release);
        }
    }

    /// Whether the driver watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    /// Called by the listener: a delivery waits for an earlier one with the same order key.
    pub(crate) fn wait_in_order(&self) -> WaitInOrder<'_> {
        self.in_order.fetch_add(1, Ordering::AcqRel);
        WaitInOrder(self)
    }

    /// How many deliveries wait for an earlier one with the same order key. They count as begun, and
    /// hold no slot.
    #[must_use]
    pub fn waiting_in_order(&self) -> usize {
        self.in_order.load(Ordering::Acquire)
    }

    /// Called by the listener when no delivery is waiting to begin: how many it has begun since it
    /// subscribed, and whether it has a free slot.
    pub(crate) fn begun(&self, count: u64, could_begin_more: bool) {
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
