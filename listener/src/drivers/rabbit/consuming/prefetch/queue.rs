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

/// What each queue may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    /// The prefetch if neither bytes nor pace matter.
    pub(super) max: u16,
    /// Whether the prefetch depends on the pace.
    pub(super) is_paced: bool,
    /// Neither bytes nor pace matter.
    pub(super) is_unlimited: bool,
}

impl Budget {
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
    generation: u32,
    /// The prefetch of the current consumer.
    pub(super) prefetch: u16,
    /// How many deliveries are unsettled.
    pub(super) unsettled: usize,
    /// How many of them are of earlier consumers: they do not count for the current prefetch.
    pub(super) of_earlier: usize,
    /// The expected size of a delivery: at first the largest so far, then the mean, in which the latest
    /// have the most weight.
    size: Option<usize>,
    /// How many deliveries have arrived, up to `SAMPLE`.
    sampled: usize,
    /// How many have arrived since the last change; at least `SAMPLE` once the budget has room again.
    pub(super) since: usize,
    /// Its consumer is to be replaced.
    pub(super) is_replaced: bool,
    pub(super) single: SingleActiveConsumer,
    pub(super) may_be_quorum: bool,
}

impl QueuePrefetch {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            generation: 0,
            prefetch: 0,
            unsettled: 0,
            of_earlier: 0,
            size: None,
            sampled: 0,
            since: 0,
            is_replaced: false,
            single: SingleActiveConsumer::default(),
            may_be_quorum: false,
        }
    }

    /// A new consumer is attached. Returns its number.
    pub(super) fn consumer_attached(&mut self, prefetch: u16) -> u32 {
        self.prefetch = prefetch;
        self.of_earlier = self.unsettled;
        self.generation += 1;
        self.since = 0;
        self.is_replaced = false;
        self.generation
    }

    pub(super) fn arrived(&mut self, generation: u32, size: usize) {
        self.unsettled += 1;
        if generation != self.generation {
            self.of_earlier += 1;
        }
        let old = self.size.unwrap_or(size);
        self.size = Some(if self.sampled < SAMPLE {
            self.sampled += 1;
            old.max(size)
        } else {
            old - old / WEIGHT + size / WEIGHT
        });
        self.since += 1;
    }

    pub(super) fn settled(&mut self, generation: u32) {
        self.unsettled -= 1;
        self.pace.settled();
        if generation != self.generation {
            self.of_earlier -= 1;
        }
    }

    /// How the prefetch differs, if it does so much that a new consumer pays: for half as many
    /// deliveries, or for half more if that is at least half of what fits.
    pub(super) fn mismatch(&self, budget: Budget, has_budget: bool) -> Option<Mismatch> {
        let is_sampled = self.since >= SAMPLE.min(self.limit());
        if self.size.is_none() || self.single == SingleActiveConsumer::Yes || !is_sampled {
            return None;
        }
        let (target, prefetch) = (usize::from(self.target(budget)), usize::from(self.prefetch));
        let next = usize::from(self.next(budget, false));
        let grows = 2 * next >= target && 2 * next >= 3 * prefetch;
        let slots = self.pace.slots();
        let lacks = budget.is_paced && self.limit() < slots - slots / 8 && next > prefetch;
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
    pub(super) fn next(&self, budget: Budget, is_throttled: bool) -> u16 {
        let (max, target) = (usize::from(budget.max), usize::from(self.target(budget)));
        let is_first = self.generation == 0;
        let next = match self.single {
            _ if budget.is_unlimited => max,
            SingleActiveConsumer::Yes if is_first => max,
            SingleActiveConsumer::Unknown if is_first => self.useful(),
            _ if is_throttled => 1,
            _ if target <= usize::from(self.prefetch) => target.saturating_sub(self.unsettled),
            // There is room, and a small prefetch must not lack for good what is unsettled now.
            _ if target == max || usize::from(self.fitting(budget)) >= self.limit() + target => {
                target.saturating_sub(self.unsettled).max(target - target / 8)
            }
            _ => target.saturating_sub(self.limit()),
        };
        u16::try_from(next).unwrap_or(u16::MAX).max(1)
    }

    /// How many deliveries should be unsettled.
    fn target(&self, budget: Budget) -> u16 {
        self.fitting(budget).min(u16::try_from(self.useful()).unwrap_or(u16::MAX))
    }

    /// How many deliveries of the expected size fit the budget.
    fn fitting(&self, budget: Budget) -> u16 {
        budget.count(self.size.unwrap_or(LARGEST))
    }

    /// How many deliveries are useful. A queue that may have a single active consumer is not handed over
    /// for the pace, unless nothing would arrive otherwise.
    fn useful(&self) -> usize {
        match self.single {
            SingleActiveConsumer::No => self.pace.useful().into(),
            SingleActiveConsumer::Yes | SingleActiveConsumer::Unknown => self.pace.needed(),
        }
    }

    /// Whether it has delivered all that it may, although the budget has room for half more.
    pub(super) fn is_exhausted(&self, budget: Budget) -> bool {
        let is_full = self.single != SingleActiveConsumer::Yes && self.room() == 0;
        is_full && 3 * self.limit() < 2 * usize::from(self.fitting(budget))
    }

    /// How many deliveries may be unsettled.
    pub(super) fn limit(&self) -> usize {
        usize::from(self.prefetch) + self.of_earlier
    }

    /// How many more the broker sends before one is settled.
    pub(super) fn room(&self) -> usize {
        self.limit().saturating_sub(self.unsettled)
    }
}
