//! How much may be unsettled at once: AMQP 0-9-1 bounds the number of deliveries of a consumer
//! and not their bytes, so the number is fitted to the sizes that come. Decisions only: `consume.rs`
//! changes the consumers, `session.rs` tells what came. All that was asked for at first; fewer once
//! they are large; one of each queue while the budget is used up, until half is free. What is on
//! its way comes all the same. A consumer is only changed for bytes: the broker takes a new one for
//! another, also where a single one is active.

use std::collections::HashMap;

/// So many deliveries must come before the number is fitted to their sizes.
const FEW: u16 = 4;
/// How much a size weighs in the mean: an eighth.
const WEIGHT: usize = 8;

/// What is unsettled, and what may be.
#[derive(Debug)]
pub(super) struct Window {
    budget: usize,
    /// The prefetch of each queue that is asked for if bytes do not matter.
    full: u16,
    /// What the last consumers were given.
    current: u16,
    /// The budget was used up.
    is_narrow: bool,
    /// The place of its queue and the size of each unsettled delivery, by tag.
    held: HashMap<u64, (usize, usize)>,
    /// How many are unsettled, for each place.
    counts: Vec<u16>,
    bytes: usize,
    /// The mean of the sizes, the last ones first.
    mean: Option<usize>,
    /// How many came since the last change.
    since: u16,
}

impl Window {
    /// For so many bytes over all queues, and so many deliveries of each.
    pub(super) fn new(budget: usize, full: u16, queues: usize) -> Self {
        Self {
            budget: budget.max(1),
            full,
            current: full,
            is_narrow: false,
            held: HashMap::new(),
            counts: vec![0; queues.max(1)],
            bytes: 0,
            mean: None,
            since: 0,
        }
    }

    /// The prefetch that consumers have at present.
    pub(super) const fn current(&self) -> u16 {
        self.current
    }

    /// The prefetch of a consumer that is made now: what is held counts, for the broker does
    /// not count what came over another consumer.
    pub(super) fn prefetch(&self, place: usize) -> u16 {
        self.current.saturating_sub(self.counts[place]).max(1)
    }

    /// A delivery of the queue at `place` came.
    pub(super) fn arrived(&mut self, tag: u64, place: usize, size: usize) {
        if self.is_boundless() {
            return;
        }
        self.held.insert(tag, (place, size));
        self.counts[place] = self.counts[place].saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        let old = self.mean.unwrap_or(size);
        self.mean = Some(old - old / WEIGHT + size / WEIGHT);
        self.since = self.since.saturating_add(1);
    }

    pub(super) fn settled(&mut self, tag: u64) {
        if let Some((place, size)) = self.held.remove(&tag) {
            self.counts[place] -= 1;
            self.bytes -= size;
        }
    }

    /// Whether the consumers must be made anew, with what `prefetch` says from now on.
    pub(super) fn change(&mut self) -> bool {
        let Some(mean) = self.mean.filter(|_| !self.is_boundless()) else {
            return false;
        };
        let fitted = self.fitted(mean);
        let wanted = if self.bytes >= self.budget {
            self.is_narrow = true;
            1
        } else if self.is_narrow {
            if self.bytes > self.budget / 2 {
                return false;
            }
            self.is_narrow = false;
            fitted
        } else if self.since >= FEW && self.is_off(fitted) {
            fitted
        } else {
            return false;
        };
        if wanted == self.current {
            return false;
        }
        self.since = 0;
        self.current = wanted;
        true
    }

    /// Whether the number is so wrong that new consumers pay: when it doubles or halves, or when
    /// all is to be had and nothing is held.
    fn is_off(&self, fitted: u16) -> bool {
        let (fitted, current) = (u32::from(fitted), u32::from(self.current));
        let is_all = fitted == u32::from(self.full);
        fitted >= 2 * current
            || 2 * fitted <= current
            || (fitted > current && is_all && self.held.is_empty())
    }

    /// How many deliveries of each queue the budget has room for, at this size.
    fn fitted(&self, size: usize) -> u16 {
        let count = self.budget / self.counts.len() / size.max(1);
        u16::try_from(count).unwrap_or(u16::MAX).clamp(1, self.full)
    }

    fn is_boundless(&self) -> bool {
        self.budget == usize::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// A window of one queue, to which deliveries come in order.
    struct Run {
        window: Window,
        next: u64,
    }

    impl Run {
        fn new(budget: usize, full: u16) -> Self {
            Self { window: Window::new(budget, full, 1), next: 1 }
        }

        fn prefetch(&self) -> u16 {
            self.window.current
        }

        /// So many deliveries of this size come; the prefetch after each change.
        fn come(&mut self, count: u64, size: usize) -> Vec<u16> {
            let mut changes = Vec::new();
            for _ in 0..count {
                self.window.arrived(self.next, 0, size);
                self.next += 1;
                changes.extend(self.window.change().then(|| self.window.prefetch(0)));
            }
            changes
        }

        fn settle(&mut self, tags: std::ops::RangeInclusive<u64>) -> Vec<u16> {
            let mut changes = Vec::new();
            for tag in tags {
                self.window.settled(tag);
                changes.extend(self.window.change().then(|| self.window.prefetch(0)));
            }
            changes
        }
    }

    #[test]
    fn without_a_budget_it_is_full_and_stays_so() {
        let mut run = Run::new(usize::MAX, 100);
        assert_eq!(run.prefetch(), 100);
        assert_eq!(run.come(100, 16 * MIB), [0; 0]);
        assert!(run.window.held.is_empty());
    }

    #[test]
    fn small_deliveries_change_nothing() {
        let mut run = Run::new(32 * MIB, 100);
        assert_eq!(run.come(100, 1000), [0; 0]);
        assert_eq!(run.settle(1..=100), [0; 0]);
    }

    #[test]
    fn large_deliveries_fill_the_budget_and_no_more() {
        let mut run = Run::new(32 * MIB, 100);
        // Eight fit, and four are held.
        assert_eq!(run.come(4, 4 * MIB), [4]);
        // The budget is used up: one more is let through at most.
        assert_eq!(run.come(4, 4 * MIB), [1]);
        assert_eq!(run.settle(1..=3), [0; 0]);
        assert_eq!(run.settle(4..=4), [4]);
        assert_eq!(run.come(4, 4 * MIB), [1]);
    }

    #[test]
    fn one_that_is_larger_than_the_budget_narrows_it_until_it_is_settled() {
        let mut run = Run::new(MIB, 100);
        assert_eq!(run.come(1, 8 * MIB), [1]);
        assert_eq!(run.come(1, 8 * MIB), [0; 0]);
        assert_eq!(run.settle(1..=1), [0; 0]);
        assert_eq!(run.settle(2..=2), [0; 0]);
        assert_eq!(run.prefetch(), 1);
        assert!(!run.window.is_narrow);
        // Small ones let it grow again.
        run.come(60, 10);
        assert!(run.prefetch() > 20, "{}", run.prefetch());
    }

    #[test]
    fn sizes_that_grow_narrow_it_before_the_budget_is_used_up() {
        let mut run = Run::new(32 * MIB, 100);
        run.come(4, 1000);
        run.settle(1..=4);
        let changes = run.come(4, 4 * MIB);
        assert_eq!((changes.len(), run.window.is_narrow), (1, false), "{changes:?}");
        assert!(run.prefetch() <= 50, "{}", run.prefetch());
    }

    #[test]
    fn a_large_one_among_small_ones_changes_nothing() {
        let mut run = Run::new(64 * MIB, 100);
        run.come(4, 1000);
        for _ in 0..20 {
            let first = run.next;
            assert_eq!(run.come(49, 1000), [0; 0]);
            assert_eq!(run.come(1, MIB), [0; 0]);
            run.settle(first..=run.next - 1);
        }
    }

    #[test]
    fn what_was_settled_twice_or_never_came_counts_once() {
        let mut run = Run::new(MIB, 10);
        run.come(2, 1000);
        run.settle(1..=1);
        run.settle(1..=1);
        run.settle(9..=9);
        assert_eq!((run.window.bytes, run.window.counts[0]), (1000, 1));
    }
}
