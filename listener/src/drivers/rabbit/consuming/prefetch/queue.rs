//! The prefetch of one queue: what it should be, given the sizes of its deliveries and its pace, and
//! whether a new consumer pays.

use super::pace::Pace;
use crate::drivers::rabbit::topology::single_active::SingleActiveConsumer;

/// The assumed size of a delivery until the first have arrived: the largest that RabbitMQ 4 accepts by
/// default.
pub(super) const LARGEST: usize = 16 * 1024 * 1024;

/// How many of the first deliveries count with the largest size among them, and how many must arrive
/// between two changes.
pub(super) const SAMPLE: usize = 4;

/// The weight of the latest size in the mean is the inverse of this.
const WEIGHT: usize = 8;

/// The limits of each queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    pub(super) bytes: usize,
    /// The prefetch if neither bytes nor pace matter.
    pub(super) max: u16,
    /// Whether the prefetch depends on the pace.
    pub(super) is_paced: bool,
    /// Neither bytes nor pace matter.
    pub(super) is_unlimited: bool,
}

impl QueueLimits {
    /// How many deliveries of this size fit.
    pub(super) fn count(self, size: usize) -> u16 {
        let count = self.bytes / size.max(1);
        u16::try_from(count).unwrap_or(u16::MAX).clamp(1, self.max)
    }
}

/// How a prefetch differs from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    TooFew,
    TooMany,
}

#[derive(Debug)]
pub(super) struct QueuePrefetch {
    pub(super) pace: Pace,
    /// The number of the current consumer.
    consumer_number: u32,
    /// The prefetch of the current consumer.
    pub(super) prefetch: u16,
    /// How many deliveries are unsettled.
    pub(super) unsettled: usize,
    /// How many of them are of earlier consumers: they do not count for the current prefetch.
    pub(super) from_earlier_consumers: usize,
    /// The expected size of a delivery: at first the largest so far, then the mean, in which the latest
    /// have the most weight.
    size: Option<usize>,
    /// How many deliveries have arrived, up to `SAMPLE`.
    sampled: usize,
    /// How many have arrived since the last change; at least `SAMPLE` once the budget has room again.
    pub(super) arrived_since_change: usize,
    /// Its consumer is to be replaced.
    pub(super) is_replaced: bool,
    pub(super) single_active: SingleActiveConsumer,
    pub(super) may_be_quorum: bool,
}

impl QueuePrefetch {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            consumer_number: 0,
            prefetch: 0,
            unsettled: 0,
            from_earlier_consumers: 0,
            size: None,
            sampled: 0,
            arrived_since_change: 0,
            is_replaced: false,
            single_active: SingleActiveConsumer::default(),
            may_be_quorum: false,
        }
    }

    /// A new consumer is attached. Returns its number.
    pub(super) fn consumer_attached(&mut self, prefetch: u16) -> u32 {
        self.prefetch = prefetch;
        self.from_earlier_consumers = self.unsettled;
        self.consumer_number += 1;
        self.arrived_since_change = 0;
        self.is_replaced = false;
        self.consumer_number
    }

    pub(super) fn arrived(&mut self, consumer_number: u32, size: usize) {
        self.unsettled += 1;
        if consumer_number != self.consumer_number {
            self.from_earlier_consumers += 1;
        }
        let old = self.size.unwrap_or(size);
        self.size = Some(if self.sampled < SAMPLE {
            self.sampled += 1;
            old.max(size)
        } else {
            old - old / WEIGHT + size / WEIGHT
        });
        self.arrived_since_change += 1;
    }

    pub(super) fn settled(&mut self, consumer_number: u32) {
        self.unsettled -= 1;
        self.pace.settled();
        if consumer_number != self.consumer_number {
            self.from_earlier_consumers -= 1;
        }
    }

    /// How the prefetch differs, if it does so much that a new consumer pays: for half as many
    /// deliveries, or for half more if that is at least half of what fits.
    pub(super) fn mismatch(&self, limits: QueueLimits, has_budget: bool) -> Option<Mismatch> {
        let is_sampled = self.arrived_since_change >= SAMPLE.min(self.limit());
        if self.size.is_none() || self.single_active == SingleActiveConsumer::Yes || !is_sampled {
            return None;
        }
        let (target, prefetch) = (usize::from(self.target(limits)), usize::from(self.prefetch));
        let next = usize::from(self.next(limits, false));
        let grows = 2 * next >= target && 2 * next >= 3 * prefetch;
        let slots = self.pace.slots();
        let lacks = limits.is_paced && self.limit() < slots - slots / 8 && next > prefetch;
        if 2 * target <= prefetch {
            Some(Mismatch::TooMany)
        } else if (grows || lacks) && has_budget {
            Some(Mismatch::TooFew)
        } else {
            None
        }
    }

    /// The prefetch of a consumer that is attached now. The broker does not count deliveries of other
    /// consumers for it.
    pub(super) fn next(&self, limits: QueueLimits, is_throttled: bool) -> u16 {
        let (max, target) = (usize::from(limits.max), usize::from(self.target(limits)));
        let is_first = self.consumer_number == 0;
        let next = match self.single_active {
            _ if limits.is_unlimited => max,
            SingleActiveConsumer::Yes if is_first => max,
            SingleActiveConsumer::Unknown if is_first => self.wanted(),
            _ if is_throttled => 1,
            _ if target <= usize::from(self.prefetch) => target.saturating_sub(self.unsettled),
            // There is room, and a small prefetch must not lack for good what is unsettled now.
            _ if target == max || usize::from(self.fitting(limits)) >= self.limit() + target => {
                target.saturating_sub(self.unsettled).max(target - target / 8)
            }
            _ => target.saturating_sub(self.limit()),
        };
        u16::try_from(next).unwrap_or(u16::MAX).max(1)
    }

    /// How many deliveries should be unsettled.
    fn target(&self, limits: QueueLimits) -> u16 {
        self.fitting(limits).min(u16::try_from(self.wanted()).unwrap_or(u16::MAX))
    }

    /// How many deliveries of the expected size fit the budget.
    fn fitting(&self, limits: QueueLimits) -> u16 {
        limits.count(self.size.unwrap_or(LARGEST))
    }

    /// How many deliveries are useful. A queue that may have a single active consumer is not handed over
    /// for the pace, unless nothing would arrive otherwise.
    fn wanted(&self) -> usize {
        match self.single_active {
            SingleActiveConsumer::No => self.pace.wanted().into(),
            SingleActiveConsumer::Yes | SingleActiveConsumer::Unknown => self.pace.minimum(),
        }
    }

    /// Whether it has delivered all that it may, although the budget has room for half more.
    pub(super) fn is_exhausted(&self, limits: QueueLimits) -> bool {
        let is_full = self.single_active != SingleActiveConsumer::Yes && self.room() == 0;
        is_full && 3 * self.limit() < 2 * usize::from(self.fitting(limits))
    }

    /// How many deliveries may be unsettled.
    pub(super) fn limit(&self) -> usize {
        usize::from(self.prefetch) + self.from_earlier_consumers
    }

    /// How many more the broker sends before one is settled.
    pub(super) fn room(&self) -> usize {
        self.limit().saturating_sub(self.unsettled)
    }
}
