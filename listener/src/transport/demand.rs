//! What a listener reports to its driver: whether it has begun every delivery that it received, and
//! whether it could begin more. The driver counts the deliveries that it sends, and the listener those that
//! it begins, so that an outdated report is recognized.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Whether a listener could begin more deliveries than its driver has sent.
///
/// A driver shares it with its listener in [`Subscribed`](crate::driver::Subscribed). It calls
/// [`sent`](Self::sent) for each delivery, and may adapt its prefetch to what it reads; one that always
/// uses the whole prefetch needs none of this.
#[derive(Debug, Default)]
pub struct Demand {
    all_begun: Notify,
    /// How many deliveries the driver has sent.
    sent: AtomicU64,
    /// How many deliveries had begun when the listener could last have begun more.
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
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until the listener has begun every delivery that was sent. Until then a driver may batch
    /// deliveries for a short time: a wake-up for each of them is expensive.
    pub async fn all_begun(&self) {
        self.all_begun.notified().await;
    }

    /// Whether the listener has begun every delivery that was sent, and has a free slot.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.begun.load(Ordering::Acquire) == self.sent.load(Ordering::Acquire)
    }

    /// Called by the driver: sets whether `all_begun` also completes each time that a delivery waits for its
    /// method or releases its slot. Each time costs a wake-up.
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

    /// Called by the listener when no delivery waits to begin, with the number of deliveries that it has
    /// begun since it subscribed, and whether it has a free slot.
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
    fn a_report_about_fewer_deliveries_than_were_sent_is_outdated() {
        let demand = Demand::default();
        assert!(demand.is_idle());
        demand.sent();
        assert!(!demand.is_idle());
        demand.begun(1, false);
        assert!(!demand.is_idle(), "it could begin no more");
        demand.begun(1, true);
        assert!(demand.is_idle());
        // The report was about one delivery, and there are two.
        demand.sent();
        assert!(!demand.is_idle());
    }
}
