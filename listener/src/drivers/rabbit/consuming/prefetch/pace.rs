//! How many deliveries of a queue are wanted at the pace of the methods: one for each slot, and as many
//! as are settled in a second. More would be withheld from the other consumers of the queue, and might
//! reach the broker's consumer timeout before a method starts. Decisions only; `queue.rs` adapts the
//! prefetch.

use std::time::{Duration, Instant};

/// How much work is prefetched. Also the interval between measurements.
const AHEAD: Duration = Duration::from_secs(1);

/// How long the pace must be lower before fewer deliveries are wanted.
const SLOW_FOR: Duration = Duration::from_secs(10);

/// Deliveries that wait for others with the same key are wanted if they are handled within this time.
/// They hold no slot, but may reach the consumer timeout.
const IN_ORDER: Duration = Duration::from_secs(60);

/// The largest growth factor of one step, because the first deliveries may be handled faster than
/// others.
const GROWTH: usize = 8;

/// The pace of a queue.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    slots: usize,
    max: usize,
    wanted: usize,
    /// The minimum at any pace, so that others arrive despite those that wait.
    minimum: usize,
    /// How many were settled since `since`, when the current measurement began.
    settled: usize,
    since: Instant,
    recent: Recent,
    slow: Option<Slow>,
}

/// The unsettled deliveries of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnsettledCount {
    pub(super) held: usize,
    /// How many of them wait for others with the same key.
    pub(super) in_order: usize,
}

impl UnsettledCount {
    /// Whether enough wait for their key that these decide how many deliveries are wanted.
    const fn is_in_order(self) -> bool {
        self.in_order.saturating_mul(GROWTH) > self.held
    }
}

/// How many were settled in the last one or two periods of `IN_ORDER`: slow methods need a measurement
/// of this length.
#[derive(Clone, Copy, Debug)]
struct Recent {
    before: Option<usize>,
    settled: usize,
    since: Instant,
}

impl Recent {
    fn measure(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= IN_ORDER {
            let before = Some(at_pace(self.settled, elapsed, IN_ORDER));
            *self = Self { before, settled: 0, since: now };
        }
    }

    /// How many are settled in `IN_ORDER`.
    fn pace(&self, now: Instant) -> usize {
        let before = if self.before.is_some() { IN_ORDER } else { Duration::ZERO };
        let elapsed = before + now.saturating_duration_since(self.since);
        at_pace(self.before.unwrap_or(0) + self.settled, elapsed.max(AHEAD), IN_ORDER)
    }
}

/// How many are settled in `time` at a pace of `settled` in `elapsed`.
fn at_pace(settled: usize, elapsed: Duration, time: Duration) -> usize {
    let settled = time.as_micros().saturating_mul(settled as u128) / elapsed.as_micros().max(1);
    usize::try_from(settled).unwrap_or(usize::MAX)
}

/// Most of the prefetch is unsettled, and the pace requires less than half of it.
#[derive(Clone, Copy, Debug)]
struct Slow {
    since: Instant,
    /// The most that the pace has required since then.
    most: usize,
}

impl Pace {
    /// `slots`: how many deliveries are handled concurrently; `max`: how many may be prefetched.
    pub(super) fn new(slots: usize, max: u16, now: Instant) -> Self {
        let max = usize::from(max);
        let slots = slots.clamp(1, max.max(1));
        let recent = Recent { before: None, settled: 0, since: now };
        Self {
            slots,
            max,
            wanted: slots,
            minimum: slots,
            settled: 0,
            since: now,
            recent,
            slow: None,
        }
    }

    /// How many deliveries are wanted.
    pub(super) fn wanted(&self) -> u16 {
        u16::try_from(self.wanted).unwrap_or(u16::MAX)
    }

    /// The minimum at any pace.
    pub(super) const fn minimum(&self) -> usize {
        self.minimum
    }

    /// How many are handled concurrently.
    pub(super) const fn slots(&self) -> usize {
        self.slots
    }

    const fn can_grow(&self) -> bool {
        self.wanted < self.max
    }

    /// A delivery was settled.
    pub(super) const fn settled(&mut self) {
        self.settled += 1;
        self.recent.settled += 1;
    }

    /// All prefetched deliveries wait, and hold no slot: more are wanted. If they wait for others with
    /// the same key, no more than are handled soon.
    pub(super) fn grow(&mut self, now: Instant, count: UnsettledCount) {
        let most = self.most(now, count);
        let grown = |old: usize| count.held.max(old).saturating_mul(GROWTH).min(most).max(old);
        let (wanted, minimum) = (grown(self.wanted), grown(self.minimum));
        if wanted > self.wanted {
            self.slow = None;
        }
        (self.wanted, self.minimum) = (wanted, minimum);
    }

    /// The most deliveries that may be prefetched while these wait for their keys.
    fn most(&self, now: Instant, count: UnsettledCount) -> usize {
        if !count.is_in_order() {
            return self.max;
        }
        let others = count.held.saturating_sub(count.in_order);
        others.saturating_add(self.recent.pace(now)).clamp(self.slots, self.max)
    }

    /// Measures the pace. `is_idle`: slots are free; `is_held`: most of the prefetch is unsettled.
    pub(super) fn measure(
        &mut self,
        now: Instant,
        is_idle: bool,
        is_held: bool,
        count: UnsettledCount,
    ) {
        self.recent.measure(now);
        let elapsed = now.saturating_duration_since(self.since);
        if self.settled < self.wanted && elapsed < AHEAD {
            return;
        }
        let measured = self.at_current_pace(elapsed);
        if 2 * measured >= 3 * self.wanted && self.can_grow() {
            self.wanted = measured.min(GROWTH * self.wanted).min(self.max);
            (self.settled, self.since, self.slow) = (0, now, None);
            return;
        }
        if elapsed < AHEAD {
            return;
        }
        (self.settled, self.since) = (0, now);
        // Deliveries that wait for their keys leave slots free, which does not mean that more are
        // wanted.
        let (is_idle, measured) = match count.is_in_order() {
            true => (false, measured.max(self.most(now, count))),
            false => (is_idle, measured),
        };
        if is_idle || !is_held || 2 * measured > self.wanted {
            self.slow = None;
            return;
        }
        let Some(slow) = &mut self.slow else {
            // The measurement may have begun before the pace became lower.
            self.slow = Some(Slow { since: now, most: self.slots });
            return;
        };
        slow.most = slow.most.max(measured);
        if now.saturating_duration_since(slow.since) >= SLOW_FOR {
            self.wanted = slow.most;
            self.slow = None;
        }
    }

    /// How many are settled in `AHEAD`, but at least one for each slot.
    fn at_current_pace(&self, elapsed: Duration) -> usize {
        at_pace(self.settled, elapsed, AHEAD).clamp(self.slots, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run {
        pace: Pace,
        now: Instant,
    }

    impl Run {
        fn new(slots: usize, max: u16) -> Self {
            let now = Instant::now();
            Self { pace: Pace::new(slots, max, now), now }
        }

        /// Settles one delivery after the other, each after this time, while the queue has more.
        fn settle(&mut self, count: usize, each: Duration) -> u16 {
            for _ in 0..count {
                self.now += each;
                self.pace.settled();
                self.pace.measure(self.now, false, true, NONE_IN_ORDER);
            }
            self.pace.wanted()
        }

        /// As `settle`, while all but one delivery wait for the same key.
        fn settle_in_order(&mut self, count: usize, each: Duration) -> u16 {
            for _ in 0..count {
                self.now += each;
                self.pace.settled();
                let held = self.pace.wanted();
                self.measure_in_order(usize::from(held) - 1);
            }
            self.pace.wanted()
        }

        fn measure_in_order(&mut self, in_order: usize) {
            let count = UnsettledCount { held: self.pace.wanted().into(), in_order };
            self.pace.grow(self.now, count);
            self.pace.measure(self.now, true, true, count);
        }
    }

    const NONE_IN_ORDER: UnsettledCount = UnsettledCount { held: 64, in_order: 0 };

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_begins_with_one_delivery_for_each_slot() {
        let wanted = |slots, max| Run::new(slots, max).pace.wanted();
        assert_eq!(wanted(1, 1000), 1);
        assert_eq!(wanted(64, 1000), 64);
        assert_eq!(wanted(64, 10), 10);
        assert_eq!(wanted(usize::MAX, 1000), 1000);
    }

    #[test]
    fn instant_methods_get_the_maximum_after_a_few_steps() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle(64, Duration::from_micros(50)), 512);
        assert_eq!(run.settle(512, Duration::from_micros(50)), 1000);
        let mut run = Run::new(1, 1000);
        assert_eq!(run.settle(1 + 8 + 64 + 512, Duration::from_micros(50)), 1000);
    }

    #[test]
    fn slow_methods_get_one_delivery_for_each_slot() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle(500, 156 * MS), 64);
        let mut run = Run::new(1, 1000);
        assert_eq!(run.settle(100, 2000 * MS), 1);
    }

    #[test]
    fn the_prefetch_is_the_work_of_one_second() {
        let mut run = Run::new(1, 1000);
        assert_eq!(run.settle(200, 50 * MS), 20);
    }

    #[test]
    fn methods_that_become_slow_get_fewer_after_a_while() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle(1000, MS / 10), 1000);
        assert_eq!(run.settle(50, 156 * MS), 1000);
        assert_eq!(run.settle(100, 156 * MS), 64);
        // Faster again.
        assert_eq!(run.settle(2000, MS / 10), 1000);
    }

    #[test]
    fn an_almost_empty_queue_keeps_its_prefetch() {
        let mut run = Run::new(64, 1000);
        run.settle(1000, MS / 10);
        for _ in 0..1000 {
            run.now += 100 * MS;
            run.pace.settled();
            run.pace.measure(run.now, true, true, NONE_IN_ORDER);
            run.pace.measure(run.now, false, false, NONE_IN_ORDER);
        }
        assert_eq!(run.pace.wanted(), 1000);
    }

    #[test]
    fn deliveries_that_wait_for_something_else_let_others_arrive() {
        let mut run = Run::new(64, 1000);
        run.pace.grow(run.now, UnsettledCount { held: 64, in_order: 2 });
        assert_eq!(run.pace.wanted(), 512);
        run.pace.grow(run.now, UnsettledCount { held: 512, in_order: 2 });
        assert_eq!((run.pace.wanted(), run.pace.can_grow()), (1000, false));
    }

    #[test]
    fn deliveries_that_wait_for_their_key_are_limited_to_those_handled_soon() {
        let mut run = Run::new(64, 1000);
        run.measure_in_order(63);
        assert_eq!(run.pace.wanted(), 64, "the pace is unknown");
        // One key: 30 a minute.
        assert_eq!(run.settle_in_order(300, 2000 * MS), 64);
        // Ten keys, each as slow: 300 a minute, and those that are being handled.
        let mut run = Run::new(64, 1000);
        for _ in 0..300 {
            run.now += 200 * MS;
            run.pace.settled();
            run.measure_in_order(usize::from(run.pace.wanted()) - 10);
        }
        assert!((300..=320).contains(&run.pace.wanted()), "{}", run.pace.wanted());
    }

    #[test]
    fn fast_methods_get_the_maximum_also_in_order() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle_in_order(64 + 512, Duration::from_micros(50)), 1000);
    }

    #[test]
    fn methods_that_become_slow_get_fewer_also_in_order() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle_in_order(1000, MS), 1000);
        // Until the fast ones are out of the measurement.
        assert_eq!(run.settle_in_order(100, 2000 * MS), 64);
        assert_eq!(run.settle_in_order(2000, MS), 1000);
    }
}
