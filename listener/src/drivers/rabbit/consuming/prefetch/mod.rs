//! The prefetch of each consumer. AMQP 0-9-1 limits the number of unsettled deliveries and not their
//! bytes, so the number is adapted: to the sizes of the deliveries of each queue, so that the budget of
//! bytes is kept, and to the pace of the methods (`pace.rs`). At first each delivery counts as one of
//! the largest. While the budget is used up, one delivery of each queue is allowed, until half of it is
//! free; deliveries that the broker has sent already still arrive. Decisions only: `session.rs` reports
//! deliveries and settlements, and replaces consumers.
//!
//! Here is what concerns all queues together; `queue.rs` decides for one queue, `unsettled.rs` counts.

mod pace;
mod queue;
#[cfg(test)]
mod tests;
mod unsettled;

use std::time::Instant;

use self::pace::{Pace, UnsettledCount};
use self::queue::{LARGEST, Mismatch, QueueLimits, QueuePrefetch, SAMPLE};
pub(crate) use self::unsettled::ConsumerId;
use self::unsettled::{UnsettledDeliveries, UnsettledDelivery};
use crate::drivers::rabbit::topology::single_active::SingleActiveConsumer;

/// What is unsettled, and what may be.
#[derive(Debug)]
pub(crate) struct PrefetchController {
    /// In bytes, over all queues.
    budget: usize,
    /// What each queue may use of it.
    limits: QueueLimits,
    queues: Vec<QueuePrefetch>,
    unsettled: UnsettledDeliveries,
    /// The budget was used up, and half of it is not free yet.
    is_throttled: bool,
    /// The prefetch of some queue is to grow when its consumer holds its whole prefetch.
    awaits_growth: bool,
    /// The largest prefetch of a consumer.
    largest: u16,
}

impl PrefetchController {
    /// `budget`: bytes over all queues; `max`: deliveries of each queue; `slots`: how many are handled
    /// concurrently.
    pub(crate) fn new(budget: usize, max: u16, slots: usize, queues: usize) -> Self {
        let is_paced = slots < usize::from(max);
        let (bytes, count) = (budget.max(1), queues.max(1));
        let pace = Pace::new(slots, max, Instant::now());
        let queue = || QueuePrefetch::new(pace.clone());
        Self {
            budget: bytes,
            limits: QueueLimits {
                bytes: bytes / count,
                max,
                is_paced,
                is_unlimited: budget == usize::MAX && !is_paced,
            },
            queues: std::iter::repeat_with(queue).take(count).collect(),
            unsettled: UnsettledDeliveries::default(),
            is_throttled: false,
            awaits_growth: false,
            largest: 1,
        }
    }

    /// Whether the prefetch depends on sizes or on the pace at all.
    pub(crate) fn is_adaptive(&self) -> bool {
        self.limits.is_paced || self.limits.count(LARGEST) < self.limits.max
    }

    /// Whether the prefetch depends on the pace: `measure` must be called then.
    pub(crate) const fn is_paced(&self) -> bool {
        self.limits.is_paced
    }

    /// Measures the pace. `is_idle`: all deliveries are being handled, slots are free, and no settlement
    /// waits. `in_order`: how many deliveries, of all queues, wait for others with the same key.
    pub(crate) fn measure(&mut self, now: Instant, is_idle: bool, in_order: usize) {
        let all = self.unsettled.len();
        let (limits, is_throttled) = (self.limits, self.is_throttled);
        for queue in &mut self.queues {
            let is_exhausted = is_idle && !is_throttled && queue.is_exhausted(limits);
            // At least this many of them are from this queue.
            let in_order = in_order.saturating_sub(all - queue.unsettled);
            let count = UnsettledCount { held: queue.limit(), in_order };
            if is_exhausted {
                queue.pace.grow(now, count);
            }
            queue.pace.measure(now, is_idle, 2 * queue.unsettled >= queue.limit(), count);
        }
    }

    /// Whether some queue has delivered all that it may, although the budget has room for more.
    pub(crate) fn is_exhausted(&self) -> bool {
        !self.is_throttled && self.queues.iter().any(|queue| queue.is_exhausted(self.limits))
    }

    /// Sets what is known of a queue, before its first consumer. With a single active consumer the
    /// prefetch is not changed: a new consumer would hand the queue over to the next in line while
    /// deliveries are handled here, and a message published at that moment can terminate a classic queue
    /// of RabbitMQ 3.10. If it is unknown, the prefetch is the number of slots, and changes only for
    /// large deliveries.
    pub(crate) fn set_properties(
        &mut self,
        queue: usize,
        single_active: SingleActiveConsumer,
        may_be_quorum: bool,
    ) {
        let queue = &mut self.queues[queue];
        (queue.single_active, queue.may_be_quorum) = (single_active, may_be_quorum);
    }

    /// Whether some queue has a single active consumer, or may have one.
    pub(crate) fn may_have_single_active_consumer(&self) -> bool {
        self.queues.iter().any(|queue| queue.single_active != SingleActiveConsumer::No)
    }

    /// Whether all queues have delivered all that they may: no delivery is expected.
    pub(crate) fn is_full(&self) -> bool {
        !self.limits.is_unlimited && self.queues.iter().all(|queue| queue.room() == 0)
    }

    /// The largest prefetch of a consumer.
    pub(crate) const fn largest(&self) -> u16 {
        self.largest
    }

    /// A new consumer of a queue, and its prefetch.
    pub(crate) fn next_consumer(&mut self, queue: usize) -> (ConsumerId, u16) {
        let at = &mut self.queues[queue];
        let prefetch = at.next(self.limits, self.is_throttled);
        let id = ConsumerId { queue, consumer_number: at.consumer_attached(prefetch) };
        self.largest = self.queues.iter().map(|queue| queue.prefetch).max().unwrap_or(1);
        (id, prefetch)
    }

    /// A delivery has arrived.
    pub(crate) fn arrived(&mut self, tag: u64, consumer: ConsumerId, size: usize) {
        if self.limits.is_unlimited {
            return;
        }
        self.unsettled.insert(tag, UnsettledDelivery { consumer, size });
        self.queues[consumer.queue].arrived(consumer.consumer_number, size);
    }

    /// A delivery is settled.
    pub(crate) fn settled(&mut self, tag: u64) {
        if let Some(UnsettledDelivery { consumer, .. }) = self.unsettled.remove(tag) {
            self.queues[consumer.queue].settled(consumer.consumer_number);
        }
    }

    /// Whether consumers are to be replaced: those for which `replaces` is true. A quorum queue loses
    /// its order if it delivers to a consumer that is being cancelled, so its consumer is replaced only
    /// while it holds its whole prefetch, unless the budget is used up.
    pub(crate) fn update(&mut self) -> bool {
        if self.limits.is_unlimited {
            return false;
        }
        if self.unsettled.bytes() >= self.budget {
            let single = SingleActiveConsumer::Yes;
            let too_many =
                |queue: &&mut QueuePrefetch| queue.single_active != single && queue.room() > 1;
            for queue in self.queues.iter_mut().filter(too_many) {
                queue.is_replaced = true;
                self.is_throttled = true;
            }
        } else if self.is_throttled && self.unsettled.bytes() <= self.budget / 2 {
            self.is_throttled = false;
            for queue in &mut self.queues {
                queue.arrived_since_change = queue.arrived_since_change.max(SAMPLE);
            }
        }
        self.awaits_growth = false;
        if !self.is_throttled {
            let has_budget = self.unsettled.bytes() < self.budget;
            for queue in &mut self.queues {
                let mismatch = queue.mismatch(self.limits, has_budget);
                queue.is_replaced |=
                    mismatch.is_some() && (queue.room() == 0 || !queue.may_be_quorum);
                self.awaits_growth |= mismatch == Some(Mismatch::TooFew) && !queue.is_replaced;
            }
        }
        self.queues.iter().any(|queue| queue.is_replaced)
    }

    /// Whether the prefetch of some queue is to grow when its consumer holds its whole prefetch.
    pub(crate) const fn awaits_growth(&self) -> bool {
        self.awaits_growth
    }

    /// Whether all queues may deliver more before anything is settled.
    pub(crate) fn has_room(&self) -> bool {
        self.queues.iter().all(|queue| queue.room() > 0)
    }

    /// Whether this consumer is to be replaced.
    pub(crate) fn replaces(&self, consumer: ConsumerId) -> bool {
        self.queues[consumer.queue].is_replaced
    }
}
