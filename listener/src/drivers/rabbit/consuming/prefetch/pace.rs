//! How many deliveries of a queue are worth having here: as many as are worked on at once, and as
//! many as are settled in a second. What waits here beyond that is out of reach of the other
//! consumers of the queue, and may reach the broker's consumer timeout before it is begun.
//! Decisions only: `window.rs` asks.

use std::time::{Duration, Instant};

/// So much work is worth having here. The pace is also measured anew so often.
const AHEAD: Duration = Duration::from_secs(1);

/// The pace must be lower for so long before fewer are had.
const SLOW_FOR: Duration = Duration::from_secs(10);

/// What waits for others of its key is worth having here if it is begun in so long: it is in nobody's
/// way here, but it may reach the consumer timeout.
const IN_ORDER: Duration = Duration::from_secs(60);

/// It grows by no more at once: the first ones may be quicker than the others.
const GROWTH: usize = 8;

/// What is known of the pace of a queue.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    slots: usize,
    full: usize,
    worth: usize,
    /// How many are needed, whatever the pace: others are to come past those that wait.
    needed: usize,
    /// How many were settled since the last measurement began.
    settled: usize,
    since: Instant,
    lately: Lately,
    slow: Option<Slow>,
}

/// What is here of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    pub(crate) held: usize,
    /// How many of them wait for others of the same key.
    pub(crate) in_order: usize,
}

impl Here {
    /// Whether so many wait for others of their key that those decide how many are worth having.
    const fn is_in_order(self) -> bool {
        self.in_order.saturating_mul(GROWTH) > self.held
    }
}

/// How many were settled in the last `IN_ORDER`, or the last two of them: a measurement of slow
/// methods takes as long.
#[derive(Clone, Copy, Debug)]
struct Lately {
    before: Option<usize>,
    settled: usize,
    since: Instant,
}

impl Lately {
    fn look(&mut self, now: Instant) {
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

/// How many are settled in `time`, if so many were in `elapsed`.
fn at_pace(settled: usize, elapsed: Duration, time: Duration) -> usize {
    let settled = time.as_micros().saturating_mul(settled as u128) / elapsed.as_micros().max(1);
    usize::try_from(settled).unwrap_or(usize::MAX)
}

/// Much is held, and the pace asks for less than half of it.
#[derive(Clone, Copy, Debug)]
struct Slow {
    since: Instant,
    /// The most that the pace has asked for meanwhile.
    most: usize,
}

impl Pace {
    /// Of a queue of which so many are worked on at once, and `full` may be here.
    pub(crate) fn new(slots: usize, full: u16, now: Instant) -> Self {
        let full = usize::from(full);
        let slots = slots.clamp(1, full.max(1));
        let lately = Lately { before: None, settled: 0, since: now };
        Self {
            slots,
            full,
            worth: slots,
            needed: slots,
            settled: 0,
            since: now,
            lately,
            slow: None,
        }
    }

    /// How many are worth having here.
    pub(crate) fn worth(&self) -> u16 {
        u16::try_from(self.worth).unwrap_or(u16::MAX)
    }

    /// How many are needed, whatever the pace.
    pub(crate) const fn needed(&self) -> usize {
        self.needed
    }

    /// How many are worked on at once.
    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    const fn can_grow(&self) -> bool {
        self.worth < self.full
    }

    /// One was settled.
    pub(crate) const fn settled(&mut self) {
        self.settled += 1;
        self.lately.settled += 1;
    }

    /// All that may be here waits for something else than being worked on: others are to come past
    /// it. If it waits for others of its key, no more come than are begun soon.
    pub(crate) fn starves(&mut self, now: Instant, here: Here) {
        let most = self.most(now, here);
        let grown = |old: usize| here.held.max(old).saturating_mul(GROWTH).min(most).max(old);
        let (worth, needed) = (grown(self.worth), grown(self.needed));
        if worth > self.worth {
            self.slow = None;
        }
        (self.worth, self.needed) = (worth, needed);
    }

    /// How many may be here while so many wait for others of their key.
    fn most(&self, now: Instant, here: Here) -> usize {
        if !here.is_in_order() {
            return self.full;
        }
        let others = here.held.saturating_sub(here.in_order);
        others.saturating_add(self.lately.pace(now)).clamp(self.slots, self.full)
    }

    /// Measures. `is_idle`: more could be begun than has come; `is_held`: most of what may be here
    /// is here.
    pub(crate) fn look(&mut self, now: Instant, is_idle: bool, is_held: bool, here: Here) {
        self.lately.look(now);
        let elapsed = now.saturating_duration_since(self.since);
        if self.settled < self.worth && elapsed < AHEAD {
            return;
        }
        let wanted = self.wanted(elapsed);
        if 2 * wanted >= 3 * self.worth && self.can_grow() {
            self.worth = wanted.min(GROWTH * self.worth).min(self.full);
            (self.settled, self.since, self.slow) = (0, now, None);
            return;
        }
        if elapsed < AHEAD {
            return;
        }
        (self.settled, self.since) = (0, now);
        // What waits for others of its key leaves slots free, and is not begun any sooner for that.
        let (is_idle, wanted) = match here.is_in_order() {
            true => (false, wanted.max(self.most(now, here))),
            false => (is_idle, wanted),
        };
        if is_idle || !is_held || 2 * wanted > self.worth {
            self.slow = None;
            return;
        }
        let Some(slow) = &mut self.slow else {
            // This measurement may have begun before it became slow.
            self.slow = Some(Slow { since: now, most: self.slots });
            return;
        };
        slow.most = slow.most.max(wanted);
        if now.saturating_duration_since(slow.since) >= SLOW_FOR {
            self.worth = slow.most;
            self.slow = None;
        }
    }

    /// As many as would be settled in `AHEAD`, and no fewer than are worked on at once.
    fn wanted(&self, elapsed: Duration) -> usize {
        at_pace(self.settled, elapsed, AHEAD).clamp(self.slots, self.full)
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
        fn new(slots: usize, full: u16) -> Self {
            let now = Instant::now();
            Self { pace: Pace::new(slots, full, now), now }
        }

        /// So many are settled one after the other, each after so long, of a queue that holds more.
        fn settle(&mut self, count: usize, each: Duration) -> u16 {
            for _ in 0..count {
                self.now += each;
                self.pace.settled();
                self.pace.look(self.now, false, true, NONE_IN_ORDER);
            }
            self.pace.worth()
        }

        /// All but one of what is here wait for it, while so many are settled one after the other.
        fn settle_in_order(&mut self, count: usize, each: Duration) -> u16 {
            for _ in 0..count {
                self.now += each;
                self.pace.settled();
                let held = self.pace.worth();
                self.look_in_order(usize::from(held) - 1);
            }
            self.pace.worth()
        }

        fn look_in_order(&mut self, in_order: usize) {
            let here = Here { held: self.pace.worth().into(), in_order };
            self.pace.starves(self.now, here);
            self.pace.look(self.now, true, true, here);
        }
    }

    const NONE_IN_ORDER: Here = Here { held: 64, in_order: 0 };

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_begins_with_as_many_as_are_worked_on_at_once() {
        let worth = |slots, full| Run::new(slots, full).pace.worth();
        assert_eq!(worth(1, 1000), 1);
        assert_eq!(worth(64, 1000), 64);
        assert_eq!(worth(64, 10), 10);
        assert_eq!(worth(usize::MAX, 1000), 1000);
    }

    #[test]
    fn methods_that_are_done_at_once_have_all_that_may_be_had_after_a_few_rounds() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle(64, Duration::from_micros(50)), 512);
        assert_eq!(run.settle(512, Duration::from_micros(50)), 1000);
        let mut run = Run::new(1, 1000);
        assert_eq!(run.settle(1 + 8 + 64 + 512, Duration::from_micros(50)), 1000);
    }

    #[test]
    fn slow_methods_have_as_many_as_are_worked_on_at_once() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle(500, 156 * MS), 64);
        let mut run = Run::new(1, 1000);
        assert_eq!(run.settle(100, 2000 * MS), 1);
    }

    #[test]
    fn it_is_the_work_of_a_second() {
        let mut run = Run::new(1, 1000);
        assert_eq!(run.settle(200, 50 * MS), 20);
    }

    #[test]
    fn methods_that_become_slow_have_fewer_after_a_while() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle(1000, MS / 10), 1000);
        assert_eq!(run.settle(50, 156 * MS), 1000);
        assert_eq!(run.settle(100, 156 * MS), 64);
        // And more again.
        assert_eq!(run.settle(2000, MS / 10), 1000);
    }

    #[test]
    fn a_queue_with_little_in_it_keeps_what_may_be_had() {
        let mut run = Run::new(64, 1000);
        run.settle(1000, MS / 10);
        for _ in 0..1000 {
            run.now += 100 * MS;
            run.pace.settled();
            run.pace.look(run.now, true, true, NONE_IN_ORDER);
            run.pace.look(run.now, false, false, NONE_IN_ORDER);
        }
        assert_eq!(run.pace.worth(), 1000);
    }

    #[test]
    fn what_waits_for_something_else_holds_up_nothing() {
        let mut run = Run::new(64, 1000);
        run.pace.starves(run.now, Here { held: 64, in_order: 2 });
        assert_eq!(run.pace.worth(), 512);
        run.pace.starves(run.now, Here { held: 512, in_order: 2 });
        assert_eq!((run.pace.worth(), run.pace.can_grow()), (1000, false));
    }

    #[test]
    fn what_waits_for_others_of_its_key_is_as_much_as_is_begun_soon() {
        let mut run = Run::new(64, 1000);
        run.look_in_order(63);
        assert_eq!(run.pace.worth(), 64, "nothing is known of the pace");
        // One key: 30 a minute.
        assert_eq!(run.settle_in_order(300, 2000 * MS), 64);
        // Ten keys, of which each takes as long: 300 a minute, beside those that are worked on.
        let mut run = Run::new(64, 1000);
        for _ in 0..300 {
            run.now += 200 * MS;
            run.pace.settled();
            run.look_in_order(usize::from(run.pace.worth()) - 10);
        }
        assert!((300..=320).contains(&run.pace.worth()), "{}", run.pace.worth());
    }

    #[test]
    fn quick_methods_have_all_that_may_be_had_also_in_order() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle_in_order(64 + 512, Duration::from_micros(50)), 1000);
    }

    #[test]
    fn methods_that_become_slow_have_fewer_also_in_order() {
        let mut run = Run::new(64, 1000);
        assert_eq!(run.settle_in_order(1000, MS), 1000);
        // Until the quick ones are forgotten.
        assert_eq!(run.settle_in_order(100, 2000 * MS), 64);
        assert_eq!(run.settle_in_order(2000, MS), 1000);
    }
}
