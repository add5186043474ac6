//! How much may be unsettled at once: AMQP 0-9-1 bounds the number of deliveries of a consumer
//! and not their bytes, so the number is fitted to the sizes that come, for each queue by its own.
//! At first every delivery counts as one of the largest; then as those that came. While the budget
//! is used up one of each queue is let through, until half is free. What is on its way comes all
//! the same. Decisions only: `consume.rs` changes the consumers, `session.rs` tells what came.

mod pace;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use self::pace::{Here, Pace};
use crate::drivers::rabbit::topology::single_active::Single;

/// What a delivery may be until the first have shown their size: RabbitMQ 4 takes no larger ones
/// unless it is told to.
const LARGEST: usize = 16 * 1024 * 1024;
/// So many deliveries count with the largest of them, and so many must come between two changes.
const FEW: usize = 4;
/// How much a size weighs in the mean: an eighth.
const WEIGHT: usize = 8;

/// What is unsettled, and what may be.
#[derive(Debug)]
pub(crate) struct Window {
    budget: usize,
    /// The prefetch of each queue that is asked for if bytes do not matter.
    full: u16,
    places: Vec<Place>,
    /// Each unsettled delivery, by tag.
    held: HashMap<u64, Held, BuildHasherDefault<TagHasher>>,
    bytes: usize,
    /// The budget was used up.
    is_narrow: bool,
    /// Some queue is to have more, once its consumer has all that it may have.
    is_short: bool,
    /// The largest prefetch of a consumer.
    widest: u16,
    /// Whether the number depends on the pace.
    is_paced: bool,
}

/// Whose a consumer is: of which queue, and which in the row of its consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    place: usize,
    round: u32,
}

impl Seat {
    pub(crate) const fn place(self) -> usize {
        self.place
    }
}

/// A queue.
#[derive(Debug)]
struct Place {
    pace: Pace,
    /// The present consumer's.
    round: u32,
    /// The present consumer's prefetch.
    given: u16,
    /// How many deliveries are unsettled.
    count: usize,
    /// Those of them that came over earlier consumers: the broker does not count them.
    earlier: usize,
    /// What a delivery is expected to have: at first the most that came, then the mean, the last
    /// ones weighing most.
    size: Option<usize>,
    /// How many came, up to `FEW`.
    came: usize,
    /// How many came since the last change, or `FEW` if the budget has room again.
    since: usize,
    /// Its consumer is to be made anew.
    is_due: bool,
    /// Whether it goes to one consumer at a time.
    single: Single,
    may_be_quorum: bool,
}

/// How a prefetch is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Off {
    Few,
    Many,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    seat: Seat,
    size: usize,
}

impl Window {
    /// For so many bytes over all queues, and so many deliveries of each, of which so many are
    /// worked on at once.
    pub(crate) fn new(budget: usize, full: u16, slots: usize, queues: usize) -> Self {
        let pace = Pace::new(slots, full, Instant::now());
        let place = || Place::new(pace.clone());
        let places = std::iter::repeat_with(place).take(queues.max(1)).collect();
        Self {
            is_paced: slots < usize::from(full),
            budget: budget.max(1),
            full,
            places,
            held: HashMap::default(),
            bytes: 0,
            is_narrow: false,
            is_short: false,
            widest: 1,
        }
    }

    /// Whether the number depends on sizes, or on the pace, at all.
    pub(crate) fn is_fitted(&self) -> bool {
        self.is_paced || self.fitted(LARGEST) < self.full
    }

    /// Whether the number depends on the pace: `look` is to be called then.
    pub(crate) const fn is_paced(&self) -> bool {
        self.is_paced
    }

    /// Looks at the pace. `is_idle`: all that came is begun, more could be, and nothing waits to be
    /// settled. `in_order`: so many, of all queues, wait for others of their key.
    pub(crate) fn look(&mut self, now: Instant, is_idle: bool, in_order: usize) {
        let all = self.held.len();
        for place in 0..self.places.len() {
            let starves = is_idle && self.is_exhausted_at(place);
            let at = &mut self.places[place];
            // So many of them are of this queue, or more.
            let in_order = in_order.saturating_sub(all - at.count);
            let here = Here { held: at.whole(), in_order };
            if starves {
                at.pace.starves(now, here);
            }
            at.pace.look(now, is_idle, 2 * at.count >= at.whole(), here);
        }
    }

    /// Whether all that may be here of some queue is here, though the budget has room for more.
    pub(crate) fn is_exhausted(&self) -> bool {
        (0..self.places.len()).any(|place| self.is_exhausted_at(place))
    }

    /// What is known of the queue at `place`; said before its first consumer. One that goes to one
    /// consumer at a time is left as it is: a new consumer hands it to whoever is the next in line,
    /// beside what is in work here, and a publisher that comes at the wrong moment ends a classic
    /// queue of RabbitMQ 3.10. Where that is not known it has as many as are worked on at once, and is
    /// changed only for large deliveries.
    pub(crate) fn fit(&mut self, place: usize, single: Single, may_be_quorum: bool) {
        let at = &mut self.places[place];
        (at.single, at.may_be_quorum) = (single, may_be_quorum);
    }

    /// Whether some queue goes to one consumer at a time, or may.
    pub(crate) fn may_be_single(&self) -> bool {
        self.places.iter().any(|place| place.single != Single::No)
    }

    /// Whether all that may be unsettled is here, of every queue: nothing is on its way.
    pub(crate) fn is_full(&self) -> bool {
        !self.is_boundless() && self.places.iter().all(|place| place.room() == 0)
    }

    /// The largest prefetch that a consumer has at present.
    pub(crate) const fn widest(&self) -> u16 {
        self.widest
    }

    /// A consumer of the queue at `place` is made now, with this prefetch.
    pub(crate) fn seat(&mut self, place: usize) -> (Seat, u16) {
        let given = self.next(place);
        let at = &mut self.places[place];
        at.given = given;
        at.earlier = at.count;
        at.round += 1;
        at.since = 0;
        at.is_due = false;
        let seat = Seat { place, round: at.round };
        self.widest = self.places.iter().map(|place| place.given).max().unwrap_or(1);
        (seat, given)
    }

    /// A delivery came over this consumer.
    pub(crate) fn arrived(&mut self, tag: u64, seat: Seat, size: usize) {
        if self.is_boundless() {
            return;
        }
        self.held.insert(tag, Held { seat, size });
        self.bytes = self.bytes.saturating_add(size);
        let at = &mut self.places[seat.place];
        at.count += 1;
        if seat.round != at.round {
            at.earlier += 1;
        }
        let old = at.size.unwrap_or(size);
        at.size = Some(if at.came < FEW {
            at.came += 1;
            old.max(size)
        } else {
            old - old / WEIGHT + size / WEIGHT
        });
        at.since += 1;
    }

    pub(crate) fn settled(&mut self, tag: u64) {
        if let Some(Held { seat, size }) = self.held.remove(&tag) {
            self.bytes = self.bytes.saturating_sub(size);
            let at = &mut self.places[seat.place];
            at.count -= 1;
            at.pace.settled();
            if seat.round != at.round {
                at.earlier -= 1;
            }
        }
    }

    /// Whether consumers must be made anew: those of which `is_due` says so. A quorum queue loses its
    /// order where it gives something to a consumer that is being cancelled: so only one that has all
    /// that it may have, unless the budget is used up.
    pub(crate) fn change(&mut self) -> bool {
        if self.is_boundless() {
            return false;
        }
        if self.bytes >= self.budget {
            for at in self.places.iter_mut().filter(|at| at.single != Single::Yes && at.room() > 1)
            {
                at.is_due = true;
                self.is_narrow = true;
            }
        } else if self.is_narrow && self.bytes <= self.budget / 2 {
            self.is_narrow = false;
            self.places.iter_mut().for_each(|at| at.since = at.since.max(FEW));
        }
        self.is_short = false;
        if !self.is_narrow {
            for place in 0..self.places.len() {
                let off = self.off(place);
                let at = &mut self.places[place];
                at.is_due |= off.is_some() && (at.room() == 0 || !at.may_be_quorum);
                self.is_short |= off == Some(Off::Few) && !at.is_due;
            }
        }
        self.places.iter().any(|at| at.is_due)
    }

    /// Whether some queue is to have more, once its consumer has all that it may have.
    pub(crate) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether the broker may send more of every queue before anything is settled.
    pub(crate) fn has_room(&self) -> bool {
        self.places.iter().all(|place| place.room() > 0)
    }

    /// Whether the consumer on this seat is to be made anew.
    pub(crate) fn is_due(&self, seat: Seat) -> bool {
        self.places[seat.place].is_due
    }

    /// Whether the number is so wrong that a new consumer pays: for half as many, or for half more
    /// if that is at least half of what fits.
    fn off(&self, place: usize) -> Option<Off> {
        let at = &self.places[place];
        let has_come = at.since >= FEW.min(at.whole());
        if at.size.is_none() || at.single == Single::Yes || !has_come {
            return None;
        }
        let (fitted, given) = (usize::from(self.expected(place)), usize::from(at.given));
        let next = usize::from(self.next(place));
        let grows = 2 * next >= fitted && 2 * next >= 3 * given;
        let slots = at.pace.slots();
        let lacks = self.is_paced && at.whole() < slots - slots / 8 && next > given;
        if 2 * fitted <= given {
            Some(Off::Many)
        } else if (grows || lacks) && self.bytes < self.budget {
            Some(Off::Few)
        } else {
            None
        }
    }

    /// The prefetch of a consumer of this queue that is made now. The broker does not count for it
    /// what came over another, or is on its way.
    fn next(&self, place: usize) -> u16 {
        let at = &self.places[place];
        let full = usize::from(self.full);
        let fitted = usize::from(self.expected(place));
        let next = if self.is_boundless() || (at.round == 0 && at.single == Single::Yes) {
            full
        } else if at.round == 0 && at.single == Single::Unknown {
            at.worth()
        } else if self.is_narrow {
            1
        } else if fitted <= usize::from(at.given) {
            fitted.saturating_sub(at.count)
        } else if fitted == full || usize::from(self.sized(place)) >= at.whole() + fitted {
            // There is room, and a small prefetch is not to lack for good what is held now.
            fitted.saturating_sub(at.count).max(fitted - fitted / 8)
        } else {
            fitted.saturating_sub(at.whole())
        };
        u16::try_from(next).unwrap_or(u16::MAX).max(1)
    }

    /// How many deliveries of this queue are to be here.
    fn expected(&self, place: usize) -> u16 {
        let worth = self.places[place].worth();
        self.sized(place).min(u16::try_from(worth).unwrap_or(u16::MAX))
    }

    /// How many deliveries the budget has room for, of each queue, if all are as those of this one.
    fn sized(&self, place: usize) -> u16 {
        self.fitted(self.places[place].size.unwrap_or(LARGEST))
    }

    /// Whether all that may be here of a queue is here, though the budget has room for half more.
    fn is_exhausted_at(&self, place: usize) -> bool {
        let at = &self.places[place];
        let is_full = at.single != Single::Yes && at.room() == 0;
        is_full && !self.is_narrow && 3 * at.whole() < 2 * usize::from(self.sized(place))
    }

    /// The same for a size.
    fn fitted(&self, size: usize) -> u16 {
        let count = self.budget / self.places.len() / size.max(1);
        u16::try_from(count).unwrap_or(u16::MAX).clamp(1, self.full)
    }

    fn is_boundless(&self) -> bool {
        self.budget == usize::MAX && !self.is_paced
    }
}

impl Place {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            round: 0,
            given: 0,
            count: 0,
            earlier: 0,
            size: None,
            came: 0,
            since: 0,
            is_due: false,
            single: Single::default(),
            may_be_quorum: false,
        }
    }

    /// How many are worth having here. A queue that may go to one consumer at a time is not handed
    /// over for the sake of the pace, but where nothing would come otherwise.
    fn worth(&self) -> usize {
        match self.single {
            Single::No => self.pace.worth().into(),
            Single::Yes | Single::Unknown => self.pace.needed(),
        }
    }

    /// How many may be unsettled.
    fn whole(&self) -> usize {
        usize::from(self.given) + self.earlier
    }

    /// How many more the broker sends before one is settled.
    fn room(&self) -> usize {
        self.whole().saturating_sub(self.count)
    }
}

/// Spreads tags, which the broker counts up: nobody can choose them so that they collide.
#[derive(Debug, Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, tag: u64) {
        self.0 = (self.0 ^ tag).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, VecDeque};

    const MIB: usize = 1024 * 1024;

    /// A window of one queue, to which deliveries come in order.
    struct Run {
        window: Window,
        seat: Seat,
        given: u16,
        next: u64,
    }

    impl Run {
        fn new(budget: usize, full: u16) -> Self {
            Self::of(Window::new(budget, full, usize::MAX, 1))
        }

        fn with(single: Single, budget: usize, full: u16) -> Self {
            let mut window = Window::new(budget, full, usize::MAX, 1);
            window.fit(0, single, false);
            Self::of(window)
        }

        fn quorum(budget: usize, full: u16) -> Self {
            let mut window = Window::new(budget, full, usize::MAX, 1);
            window.fit(0, Single::No, true);
            Self::of(window)
        }

        fn of(mut window: Window) -> Self {
            let (seat, given) = window.seat(0);
            Self { window, seat, given, next: 1 }
        }

        /// The prefetch of the new consumer, if there is one.
        fn change(&mut self) -> Option<u16> {
            if !self.window.change() {
                return None;
            }
            assert!(self.window.is_due(self.seat));
            (self.seat, self.given) = self.window.seat(0);
            Some(self.given)
        }

        /// So many deliveries of this size come; the prefetch after each change.
        fn come(&mut self, count: u64, size: usize) -> Vec<u16> {
            let mut changes = Vec::new();
            for _ in 0..count {
                self.window.arrived(self.next, self.seat, size);
                self.next += 1;
                changes.extend(self.change());
            }
            changes
        }

        fn settle(&mut self, tags: std::ops::RangeInclusive<u64>) -> Vec<u16> {
            let mut changes = Vec::new();
            for tag in tags {
                self.window.settled(tag);
                changes.extend(self.change());
            }
            changes
        }
    }

    #[test]
    fn without_a_budget_it_is_full_and_stays_so() {
        let mut run = Run::new(usize::MAX, 100);
        assert_eq!((run.given, run.window.is_fitted()), (100, false));
        assert_eq!(run.come(100, 16 * MIB), [0; 0]);
        assert!(run.window.held.is_empty());
    }

    #[test]
    fn it_begins_with_what_fits_if_all_are_of_the_largest() {
        let first = |budget, full, queues| Window::new(budget, full, usize::MAX, queues).seat(0).1;
        assert_eq!(first(64 * MIB, 500, 1), 4);
        assert_eq!(first(64 * MIB, 500, 2), 2);
        // One of each is let through.
        assert_eq!(first(64 * MIB, 500, 7), 1);
        assert_eq!(first(1, 500, 1), 1);
        // All that is asked for fits.
        assert_eq!(first(64 * MIB, 3, 1), 3);
        assert_eq!(first(500 * 16 * MIB, 500, 1), 500);
        assert!(!Window::new(64 * MIB, 4, usize::MAX, 1).is_fitted());
        assert!(Window::new(64 * MIB, 5, usize::MAX, 1).is_fitted());
    }

    #[test]
    fn small_deliveries_reach_all_that_is_asked_for_at_once_and_change_nothing_more() {
        let mut run = Run::new(64 * MIB, 500);
        assert_eq!(run.come(3, 1000), [0; 0]);
        assert_eq!(run.come(1, 1000), [496]);
        assert_eq!(run.come(496, 1000), [0; 0]);
        assert_eq!(run.settle(1..=500), [0; 0]);
        assert_eq!(run.come(200, 1000), [0; 0]);
    }

    #[test]
    fn a_small_prefetch_does_not_lack_what_is_held_when_it_grows() {
        for (full, second) in [(6, 6), (8, 7), (10, 9), (32, 28)] {
            let mut run = Run::new(64 * MIB, full);
            assert_eq!(run.come(4, 1000), [second]);
            run.come(u64::from(second), 1000);
            assert_eq!(run.settle(1..=run.next - 1), [0; 0]);
        }
        // Not worth another consumer.
        assert_eq!(Run::new(64 * MIB, 5).come(4, 1000), [0; 0]);
    }

    #[test]
    fn deliveries_that_come_slowly_grow_it_with_the_few_th() {
        let mut run = Run::new(64 * MIB, 500);
        for tag in 1..=3 {
            assert_eq!((run.come(1, 1000), run.settle(tag..=tag)), (Vec::new(), Vec::new()));
        }
        assert_eq!(run.come(1, 1000), [499]);
    }

    #[test]
    fn the_largest_of_the_first_ones_counts() {
        let mut run = Run::new(64 * MIB, 500);
        assert_eq!(run.come(3, 10), [0; 0]);
        assert_eq!(run.come(1, 16 * MIB), [0; 0]);
        // It was one, and is forgotten.
        run.settle(1..=4);
        for tag in 5..200 {
            run.come(1, 10);
            run.settle(tag..=tag);
        }
        assert!(run.given > 200, "{}", run.given);
    }

    #[test]
    fn large_deliveries_fill_the_budget_and_no_more() {
        let mut run = Run::new(32 * MIB, 100);
        // Two of the largest fit, and eight of these.
        assert_eq!(run.come(2, 4 * MIB), [6]);
        assert_eq!(run.come(6, 4 * MIB), [0; 0]);
        assert_eq!((run.window.bytes, run.window.places[0].room()), (32 * MIB, 0));
        assert_eq!(run.settle(1..=3), [0; 0]);
        assert_eq!(run.window.places[0].room(), 1);
        assert_eq!(run.come(1, 4 * MIB), [0; 0]);
    }

    #[test]
    fn the_largest_ones_change_nothing() {
        let mut run = Run::new(64 * MIB, 500);
        assert_eq!(run.come(4, 16 * MIB), [0; 0]);
        for tag in 1..100 {
            assert_eq!(run.settle(tag..=tag), [0; 0]);
            assert_eq!(run.come(1, 16 * MIB), [0; 0]);
        }
    }

    #[test]
    fn one_of_each_comes_while_the_budget_is_used_up() {
        let mut run = Run::new(32 * MIB, 100);
        run.come(4, 1000);
        run.settle(1..=4);
        assert_eq!(run.given, 98);
        assert_eq!(run.come(1, 33 * MIB), [1]);
        assert!(run.window.is_narrow);
        assert_eq!(run.come(1, 1000), [0; 0]);
        // Half of it is free; as the others were small, some fit.
        assert_eq!(run.settle(5..=5).len(), 1);
        assert!(!run.window.is_narrow);
        assert_eq!(run.come(60, 1000).last(), Some(&run.given));
        assert!(run.given > 20, "{}", run.given);
    }

    #[test]
    fn one_that_is_larger_than_the_budget_comes_alone() {
        let mut run = Run::new(MIB, 100);
        assert_eq!(run.given, 1);
        assert_eq!(run.come(1, 8 * MIB), [0; 0]);
        assert_eq!(run.window.places[0].room(), 0);
        assert_eq!(run.settle(1..=1), [0; 0]);
        // Small ones let it grow.
        for tag in 2..=100 {
            run.come(1, 10);
            run.settle(tag..=tag);
        }
        assert!(run.given > 50, "{}", run.given);
    }

    #[test]
    fn sizes_that_grow_narrow_it_before_the_budget_is_used_up() {
        let mut run = Run::new(32 * MIB, 100);
        run.come(4, 1000);
        run.settle(1..=4);
        let changes = run.come(4, 4 * MIB);
        assert_eq!((changes.len(), run.window.is_narrow), (1, false), "{changes:?}");
        assert!(run.given <= 50, "{}", run.given);
    }

    #[test]
    fn a_large_one_among_small_ones_changes_nothing() {
        let mut run = Run::new(64 * MIB, 100);
        run.come(4, 1000);
        run.settle(1..=4);
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
        assert_eq!((run.window.bytes, run.window.places[0].count), (1000, 1));
    }

    #[test]
    fn each_queue_grows_by_its_own_sizes() {
        let mut window = Window::new(64 * MIB, 500, usize::MAX, 2);
        let seats = [window.seat(0), window.seat(1)];
        assert_eq!(seats.map(|(_, given)| given), [2, 2]);
        window.arrived(1, seats[0].0, 1000);
        window.arrived(3, seats[0].0, 1000);
        assert!(window.change());
        assert_eq!(seats.map(|(seat, _)| window.is_due(seat)), [true, false]);
        assert_eq!(window.seat(0).1, 498);
        assert!(!window.change());
        assert_eq!(window.widest(), 498);
        // Of the other one comes later what is large.
        window.arrived(2, seats[1].0, 16 * MIB);
        window.arrived(4, seats[1].0, 16 * MIB);
        assert!(!window.change());
    }

    #[test]
    fn a_queue_that_goes_to_one_consumer_at_a_time_is_never_changed() {
        let mut run = Run::with(Single::Yes, 64 * MIB, 500);
        assert_eq!(run.given, 500);
        assert_eq!(run.come(10, 16 * MIB), [0; 0]);
        assert_eq!(run.settle(1..=10), [0; 0]);
    }

    #[test]
    fn one_that_may_is_changed_for_large_deliveries_only() {
        let mut run = Run::with(Single::Unknown, 64 * MIB, 500);
        assert_eq!(run.given, 500);
        assert_eq!(run.come(400, 1000), [0; 0]);
        assert_eq!(run.settle(1..=400), [0; 0]);
        assert_eq!(run.come(3, 16 * MIB).len(), 1);
    }

    #[test]
    fn a_quorum_queue_has_more_once_all_that_may_be_here_is_here() {
        let mut run = Run::quorum(64 * MIB, 500);
        for tag in 1..=10 {
            assert_eq!(run.come(1, 1000), [0; 0]);
            // Other queues are not held up for it.
            assert_eq!((run.window.is_short(), run.window.has_room()), (tag >= 4, true));
            assert_eq!(run.settle(tag..=tag), [0; 0]);
        }
        assert_eq!(run.come(4, 1000), [496]);
        assert!(!run.window.is_short());
    }

    #[test]
    fn a_quorum_queue_has_fewer_at_once_only_if_the_budget_is_used_up() {
        let mut run = Run::quorum(32 * MIB, 100);
        run.come(4, 1000);
        run.settle(1..=4);
        assert_eq!(run.come(7, 4 * MIB), [0; 0]);
        assert!(!run.window.is_short(), "it is to have fewer");
        assert_eq!(run.come(1, 4 * MIB), [1]);
        assert!(run.window.is_narrow);
        // Half of it is free, and the consumer has none of the one that it may have.
        assert_eq!(run.settle(5..=8), [0; 0]);
        assert!(run.window.is_short());
        assert_eq!(run.come(1, 4 * MIB).len(), 1);
    }

    /// With so many worked on at once, of small deliveries.
    fn paced(slots: usize) -> Run {
        paced_of(Single::No, slots)
    }

    fn paced_of(single: Single, slots: usize) -> Run {
        let mut window = Window::new(64 * MIB, 1000, slots, 1);
        window.fit(0, single, false);
        Run::of(window)
    }

    #[test]
    fn one_that_may_go_to_one_consumer_at_a_time_is_never_changed_for_the_pace() {
        for slots in [1, 4, 64] {
            let mut run = paced_of(Single::Unknown, slots);
            assert_eq!(usize::from(run.given), slots);
            let mut first = 1;
            for _ in 0..10 {
                // Quick methods.
                assert_eq!(run.come(slots as u64, 1000), [0; 0]);
                run.window.look(Instant::now(), false, 0);
                assert_eq!(run.change(), None);
                assert_eq!(run.settle(first..=run.next - 1), [0; 0]);
                first = run.next;
                run.window.look(Instant::now(), false, 0);
                assert_eq!(run.change(), None);
            }
        }
        let mut run = paced_of(Single::Unknown, 64);
        assert_eq!(run.come(4, 16 * MIB).len(), 1, "bytes force it");
    }

    #[test]
    fn one_that_may_go_to_one_consumer_at_a_time_is_changed_where_nothing_would_come_otherwise() {
        let mut run = paced_of(Single::Unknown, 64);
        run.come(64, 1000);
        // All of them wait, and none is worked on.
        assert!(run.window.is_exhausted());
        run.window.look(Instant::now(), true, 0);
        assert!(run.change().is_some_and(|given| given > 400), "{}", run.given);
    }

    #[test]
    fn as_many_come_as_are_worked_on_at_once() {
        assert_eq!(paced(1).given, 1);
        let mut run = paced(64);
        assert_eq!(run.given, 4);
        assert_eq!(run.come(4, 1000), [60]);
        assert_eq!(run.come(60, 1000), [0; 0]);
        // Slow methods: nothing was settled.
        let later = Instant::now() + std::time::Duration::from_secs(60);
        run.window.look(later, false, 0);
        assert_eq!((run.change(), run.window.is_exhausted()), (None, true));
    }

    #[test]
    fn quick_methods_have_all() {
        let mut run = paced(64);
        run.come(4, 1000);
        let mut first = 1;
        for _ in 0..3 {
            run.come(u64::from(run.given), 1000);
            run.settle(first..=run.next - 1);
            first = run.next;
            run.window.look(Instant::now(), false, 0);
            run.change();
        }
        assert!(run.given > 800, "{}", run.given);
    }

    #[test]
    fn what_waits_without_being_worked_on_lets_others_come() {
        let mut run = paced(4);
        assert_eq!(run.come(4, 1000), [0; 0]);
        for whole in [32, 256, 1000] {
            run.window.look(Instant::now(), true, 0);
            let given = run.change().expect("more are had");
            assert!(usize::from(given) + run.window.places[0].count >= whole, "{given}");
            run.come(u64::from(given), 1000);
        }
        run.window.look(Instant::now(), true, 0);
        assert_eq!((run.change(), run.window.is_exhausted()), (None, false));
    }

    #[test]
    fn what_waits_for_others_of_its_key_lets_no_more_come_while_it_is_slow() {
        let mut run = paced(64);
        run.come(4, 1000);
        run.come(60, 1000);
        run.window.look(Instant::now(), true, 63);
        assert_eq!((run.change(), run.window.is_exhausted()), (None, true));
        // Of a few of them it does not depend.
        run.window.look(Instant::now(), true, 8);
        assert!(run.change().is_some_and(|given| given > 400), "{}", run.given);
    }

    #[test]
    fn bytes_bound_it_also_at_any_pace() {
        let mut run = Run::of(Window::new(64 * MIB, 1000, 4, 1));
        assert_eq!(run.come(4, 16 * MIB), [0; 0]);
        run.window.look(Instant::now(), true, 0);
        assert_eq!(run.change(), None);
    }

    /// A broker with messages of one queue: what came over each consumer and is not settled, and
    /// how many may.
    struct Model {
        unsettled: BTreeMap<u64, (u32, usize)>,
        credits: BTreeMap<u32, usize>,
    }

    impl Model {
        fn over(&self, round: u32) -> usize {
            self.unsettled.values().filter(|(over, _)| *over == round).count()
        }

        /// How many the broker may send over a consumer.
        fn room(&self, round: u32) -> usize {
            self.credits[&round].saturating_sub(self.over(round))
        }
    }

    /// Deliveries of sizes by chance, settled in an order by chance; what the old consumer may
    /// still bring comes, or does not.
    fn play(seed: u64, budget: usize, full: u16, sizes: &[usize]) -> (usize, usize) {
        play_with(Run::new(budget, full), seed, sizes)
    }

    fn play_with(mut run: Run, seed: u64, sizes: &[usize]) -> (usize, usize) {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut model = Model { unsettled: BTreeMap::new(), credits: BTreeMap::new() };
        model.credits.insert(run.seat.round, usize::from(run.given));
        let (mut most, mut changes) = (0, 0);
        let mut left: VecDeque<usize> =
            (0..2000).map(|_| sizes[chance.usize(..sizes.len())]).collect();
        while !left.is_empty() || !model.unsettled.is_empty() {
            let bring = |run: &mut Run, model: &mut Model, seat: Seat, size| {
                run.window.arrived(run.next, seat, size);
                model.unsettled.insert(run.next, (seat.round, size));
                run.next += 1;
            };
            let has_room = model.room(run.seat.round) > 0;
            assert!(has_room || !model.unsettled.is_empty(), "nothing can come");
            if has_room && !left.is_empty() && chance.u8(..3) > 0 {
                let seat = run.seat;
                bring(&mut run, &mut model, seat, left.pop_front().expect("some are left"));
            } else if !model.unsettled.is_empty() {
                let at = chance.usize(..model.unsettled.len());
                let tag = *model.unsettled.keys().nth(at).expect("one of them");
                model.unsettled.remove(&tag);
                run.window.settled(tag);
            }
            let bytes: usize = model.unsettled.values().map(|(_, size)| size).sum();
            let at = &run.window.places[0];
            assert_eq!((run.window.bytes, at.count), (bytes, model.unsettled.len()));
            assert_eq!(at.count - at.earlier, model.over(run.seat.round));
            assert_eq!(run.window.held.len(), model.unsettled.len());
            most = most.max(bytes);
            if !run.window.change() {
                continue;
            }
            changes += 1;
            let old = run.seat;
            let keeps_order = run.window.places[0].may_be_quorum && !run.window.is_narrow;
            assert!(!keeps_order || model.room(old.round) == 0, "it may still be given something");
            (run.seat, run.given) = run.window.seat(0);
            model.credits.insert(run.seat.round, usize::from(run.given));
            let late = chance.usize(..=model.room(old.round)).min(left.len());
            for size in left.drain(..late) {
                bring(&mut run, &mut model, old, size);
            }
        }
        assert_eq!((run.window.bytes, run.window.held.len()), (0, 0));
        (most, changes)
    }

    #[test]
    fn it_counts_as_a_broker_does_and_always_lets_something_come() {
        for seed in 0..20 {
            play(seed, 32 * MIB, 100, &[10, 1000, 50_000]);
            play(seed, 4 * MIB, 20, &[10, MIB, 3 * MIB]);
            play(seed, MIB, 7, &[10, 2 * MIB]);
            let (_, changes) = play_with(Run::quorum(32 * MIB, 100), seed, &[10, 1000, 50_000]);
            assert!(changes > 0);
            play_with(Run::quorum(4 * MIB, 20), seed, &[10, MIB, 3 * MIB]);
        }
    }

    #[test]
    fn deliveries_of_one_size_stay_within_the_budget_and_change_little() {
        for size in [1, 4, 5, 8, 9, 12, 16].map(|count| count * MIB) {
            for seed in 0..20 {
                let (most, changes) = play(seed, 64 * MIB, 500, &[size]);
                assert!(most <= 64 * MIB, "{most} bytes, of {size}");
                assert!(2 * most > 64 * MIB - size, "{most} bytes, of {size}");
                assert!(changes <= 4, "{changes} changes, of {size}");
            }
        }
    }
}
