//! The prefetch of one and of two queues, against a model of a broker. The tests of the pace are in
//! `pace.rs`.

use std::collections::{BTreeMap, VecDeque};

use super::*;

const MIB: usize = 1024 * 1024;

/// The prefetch of one queue, whose deliveries arrive in order.
struct Run {
    controller: PrefetchController,
    consumer: ConsumerId,
    prefetch: u16,
    next: u64,
}

impl Run {
    fn new(budget: usize, full: u16) -> Self {
        Self::of(PrefetchController::new(budget, full, usize::MAX, 1))
    }

    fn with(single: SingleActiveConsumer, budget: usize, full: u16) -> Self {
        let mut controller = PrefetchController::new(budget, full, usize::MAX, 1);
        controller.set_properties(0, single, false);
        Self::of(controller)
    }

    fn quorum(budget: usize, full: u16) -> Self {
        let mut controller = PrefetchController::new(budget, full, usize::MAX, 1);
        controller.set_properties(0, SingleActiveConsumer::No, true);
        Self::of(controller)
    }

    fn of(mut controller: PrefetchController) -> Self {
        let (consumer, prefetch) = controller.next_consumer(0);
        Self { controller, consumer, prefetch, next: 1 }
    }

    /// The prefetch of the new consumer, if the consumer is replaced.
    fn change(&mut self) -> Option<u16> {
        if !self.controller.update() {
            return None;
        }
        assert!(self.controller.replaces(self.consumer));
        (self.consumer, self.prefetch) = self.controller.next_consumer(0);
        Some(self.prefetch)
    }

    /// Deliveries of this size arrive. Returns the prefetch after each change.
    fn arrive(&mut self, count: u64, size: usize) -> Vec<u16> {
        let mut changes = Vec::new();
        for _ in 0..count {
            self.controller.arrived(self.next, self.consumer, size);
            self.next += 1;
            changes.extend(self.change());
        }
        changes
    }

    fn settle(&mut self, tags: std::ops::RangeInclusive<u64>) -> Vec<u16> {
        let mut changes = Vec::new();
        for tag in tags {
            self.controller.settled(tag);
            changes.extend(self.change());
        }
        changes
    }
}

#[test]
fn without_a_budget_the_prefetch_is_the_maximum_and_never_changes() {
    let mut run = Run::new(usize::MAX, 100);
    assert_eq!((run.prefetch, run.controller.is_adaptive()), (100, false));
    assert_eq!(run.arrive(100, 16 * MIB), [0; 0]);
    assert!(run.controller.unsettled.len() == 0);
}

#[test]
fn the_first_prefetch_fits_the_largest_messages() {
    let first = |budget, full, queues| {
        PrefetchController::new(budget, full, usize::MAX, queues).next_consumer(0).1
    };
    assert_eq!(first(64 * MIB, 500, 1), 4);
    assert_eq!(first(64 * MIB, 500, 2), 2);
    // One delivery of each queue is allowed.
    assert_eq!(first(64 * MIB, 500, 7), 1);
    assert_eq!(first(1, 500, 1), 1);
    // The maximum fits.
    assert_eq!(first(64 * MIB, 3, 1), 3);
    assert_eq!(first(500 * 16 * MIB, 500, 1), 500);
    assert!(!PrefetchController::new(64 * MIB, 4, usize::MAX, 1).is_adaptive());
    assert!(PrefetchController::new(64 * MIB, 5, usize::MAX, 1).is_adaptive());
}

#[test]
fn small_deliveries_raise_it_to_the_maximum_in_one_change() {
    let mut run = Run::new(64 * MIB, 500);
    assert_eq!(run.arrive(3, 1000), [0; 0]);
    assert_eq!(run.arrive(1, 1000), [496]);
    assert_eq!(run.arrive(496, 1000), [0; 0]);
    assert_eq!(run.settle(1..=500), [0; 0]);
    assert_eq!(run.arrive(200, 1000), [0; 0]);
}

#[test]
fn a_small_prefetch_grows_by_more_than_what_is_unsettled() {
    for (full, second) in [(6, 6), (8, 7), (10, 9), (32, 28)] {
        let mut run = Run::new(64 * MIB, full);
        assert_eq!(run.arrive(4, 1000), [second]);
        run.arrive(u64::from(second), 1000);
        assert_eq!(run.settle(1..=run.next - 1), [0; 0]);
    }
    // Does not justify another consumer.
    assert_eq!(Run::new(64 * MIB, 5).arrive(4, 1000), [0; 0]);
}

#[test]
fn slow_deliveries_raise_it_after_the_sample() {
    let mut run = Run::new(64 * MIB, 500);
    for tag in 1..=3 {
        assert_eq!((run.arrive(1, 1000), run.settle(tag..=tag)), (Vec::new(), Vec::new()));
    }
    assert_eq!(run.arrive(1, 1000), [499]);
}

#[test]
fn the_largest_delivery_of_the_sample_counts() {
    let mut run = Run::new(64 * MIB, 500);
    assert_eq!(run.arrive(3, 10), [0; 0]);
    assert_eq!(run.arrive(1, 16 * MIB), [0; 0]);
    // It was the only one, and loses weight.
    run.settle(1..=4);
    for tag in 5..200 {
        run.arrive(1, 10);
        run.settle(tag..=tag);
    }
    assert!(run.prefetch > 200, "{}", run.prefetch);
}

#[test]
fn large_deliveries_use_the_budget_and_no_more() {
    let mut run = Run::new(32 * MIB, 100);
    // Two of the largest size fit, and eight of these.
    assert_eq!(run.arrive(2, 4 * MIB), [6]);
    assert_eq!(run.arrive(6, 4 * MIB), [0; 0]);
    assert_eq!((run.controller.unsettled.bytes(), run.controller.queues[0].room()), (32 * MIB, 0));
    assert_eq!(run.settle(1..=3), [0; 0]);
    assert_eq!(run.controller.queues[0].room(), 1);
    assert_eq!(run.arrive(1, 4 * MIB), [0; 0]);
}

#[test]
fn the_largest_deliveries_change_nothing() {
    let mut run = Run::new(64 * MIB, 500);
    assert_eq!(run.arrive(4, 16 * MIB), [0; 0]);
    for tag in 1..100 {
        assert_eq!(run.settle(tag..=tag), [0; 0]);
        assert_eq!(run.arrive(1, 16 * MIB), [0; 0]);
    }
}

#[test]
fn one_delivery_of_each_queue_is_allowed_while_the_budget_is_used_up() {
    let mut run = Run::new(32 * MIB, 100);
    run.arrive(4, 1000);
    run.settle(1..=4);
    assert_eq!(run.prefetch, 98);
    assert_eq!(run.arrive(1, 33 * MIB), [1]);
    assert!(run.controller.is_throttled);
    assert_eq!(run.arrive(1, 1000), [0; 0]);
    // Half of it is free. The others were small, so some fit.
    assert_eq!(run.settle(5..=5).len(), 1);
    assert!(!run.controller.is_throttled);
    assert_eq!(run.arrive(60, 1000).last(), Some(&run.prefetch));
    assert!(run.prefetch > 20, "{}", run.prefetch);
}

#[test]
fn a_delivery_larger_than_the_budget_arrives_alone() {
    let mut run = Run::new(MIB, 100);
    assert_eq!(run.prefetch, 1);
    assert_eq!(run.arrive(1, 8 * MIB), [0; 0]);
    assert_eq!(run.controller.queues[0].room(), 0);
    assert_eq!(run.settle(1..=1), [0; 0]);
    // Small deliveries raise it.
    for tag in 2..=100 {
        run.arrive(1, 10);
        run.settle(tag..=tag);
    }
    assert!(run.prefetch > 50, "{}", run.prefetch);
}

#[test]
fn growing_sizes_lower_it_before_the_budget_is_used_up() {
    let mut run = Run::new(32 * MIB, 100);
    run.arrive(4, 1000);
    run.settle(1..=4);
    let changes = run.arrive(4, 4 * MIB);
    assert_eq!((changes.len(), run.controller.is_throttled), (1, false), "{changes:?}");
    assert!(run.prefetch <= 50, "{}", run.prefetch);
}

#[test]
fn a_large_delivery_among_small_ones_changes_nothing() {
    let mut run = Run::new(64 * MIB, 100);
    run.arrive(4, 1000);
    run.settle(1..=4);
    for _ in 0..20 {
        let first = run.next;
        assert_eq!(run.arrive(49, 1000), [0; 0]);
        assert_eq!(run.arrive(1, MIB), [0; 0]);
        run.settle(first..=run.next - 1);
    }
}

#[test]
fn settlements_of_settled_or_unknown_tags_change_nothing() {
    let mut run = Run::new(MIB, 10);
    run.arrive(2, 1000);
    run.settle(1..=1);
    run.settle(1..=1);
    run.settle(9..=9);
    assert_eq!((run.controller.unsettled.bytes(), run.controller.queues[0].unsettled), (1000, 1));
}

#[test]
fn each_queue_depends_on_its_own_sizes() {
    let mut controller = PrefetchController::new(64 * MIB, 500, usize::MAX, 2);
    let consumers = [controller.next_consumer(0), controller.next_consumer(1)];
    assert_eq!(consumers.map(|(_, prefetch)| prefetch), [2, 2]);
    controller.arrived(1, consumers[0].0, 1000);
    controller.arrived(3, consumers[0].0, 1000);
    assert!(controller.update());
    assert_eq!(consumers.map(|(consumer, _)| controller.replaces(consumer)), [true, false]);
    assert_eq!(controller.next_consumer(0).1, 498);
    assert!(!controller.update());
    assert_eq!(controller.largest(), 498);
    // The other queue delivers large messages later.
    controller.arrived(2, consumers[1].0, 16 * MIB);
    controller.arrived(4, consumers[1].0, 16 * MIB);
    assert!(!controller.update());
}

#[test]
fn a_queue_with_a_single_active_consumer_is_never_changed() {
    let mut run = Run::with(SingleActiveConsumer::Yes, 64 * MIB, 500);
    assert_eq!(run.prefetch, 500);
    assert_eq!(run.arrive(10, 16 * MIB), [0; 0]);
    assert_eq!(run.settle(1..=10), [0; 0]);
}

#[test]
fn a_queue_that_may_have_one_is_changed_for_large_deliveries_only() {
    let mut run = Run::with(SingleActiveConsumer::Unknown, 64 * MIB, 500);
    assert_eq!(run.prefetch, 500);
    assert_eq!(run.arrive(400, 1000), [0; 0]);
    assert_eq!(run.settle(1..=400), [0; 0]);
    assert_eq!(run.arrive(3, 16 * MIB).len(), 1);
}

#[test]
fn a_quorum_queue_gets_more_when_its_whole_prefetch_is_unsettled() {
    let mut run = Run::quorum(64 * MIB, 500);
    for tag in 1..=10 {
        assert_eq!(run.arrive(1, 1000), [0; 0]);
        // Other queues are not delayed for it.
        assert_eq!((run.controller.awaits_growth(), run.controller.has_room()), (tag >= 4, true));
        assert_eq!(run.settle(tag..=tag), [0; 0]);
    }
    assert_eq!(run.arrive(4, 1000), [496]);
    assert!(!run.controller.awaits_growth());
}

#[test]
fn a_quorum_queue_gets_fewer_at_once_only_if_the_budget_is_used_up() {
    let mut run = Run::quorum(32 * MIB, 100);
    run.arrive(4, 1000);
    run.settle(1..=4);
    assert_eq!(run.arrive(7, 4 * MIB), [0; 0]);
    assert!(!run.controller.awaits_growth(), "it is to get fewer");
    assert_eq!(run.arrive(1, 4 * MIB), [1]);
    assert!(run.controller.is_throttled);
    // Half of it is free, and the consumer holds nothing of its prefetch of 1.
    assert_eq!(run.settle(5..=8), [0; 0]);
    assert!(run.controller.awaits_growth());
    assert_eq!(run.arrive(1, 4 * MIB).len(), 1);
}

/// With this number of slots, and a budget for small deliveries.
fn paced(slots: usize) -> Run {
    paced_of(SingleActiveConsumer::No, slots)
}

fn paced_of(single: SingleActiveConsumer, slots: usize) -> Run {
    let mut controller = PrefetchController::new(64 * MIB, 1000, slots, 1);
    controller.set_properties(0, single, false);
    Run::of(controller)
}

#[test]
fn the_pace_never_changes_a_queue_that_may_have_a_single_active_consumer() {
    for slots in [1, 4, 64] {
        let mut run = paced_of(SingleActiveConsumer::Unknown, slots);
        assert_eq!(usize::from(run.prefetch), slots);
        let mut first = 1;
        for _ in 0..10 {
            // Quick methods.
            assert_eq!(run.arrive(slots as u64, 1000), [0; 0]);
            run.controller.measure(Instant::now(), false, 0);
            assert_eq!(run.change(), None);
            assert_eq!(run.settle(first..=run.next - 1), [0; 0]);
            first = run.next;
            run.controller.measure(Instant::now(), false, 0);
            assert_eq!(run.change(), None);
        }
    }
    let mut run = paced_of(SingleActiveConsumer::Unknown, 64);
    assert_eq!(run.arrive(4, 16 * MIB).len(), 1, "bytes force it");
}

#[test]
fn a_queue_that_may_have_a_single_active_consumer_is_changed_when_it_is_exhausted() {
    let mut run = paced_of(SingleActiveConsumer::Unknown, 64);
    run.arrive(64, 1000);
    // All of them wait, and none is handled.
    assert!(run.controller.is_exhausted());
    run.controller.measure(Instant::now(), true, 0);
    assert!(run.change().is_some_and(|prefetch| prefetch > 400), "{}", run.prefetch);
}

#[test]
fn slow_methods_get_one_delivery_for_each_slot() {
    assert_eq!(paced(1).prefetch, 1);
    let mut run = paced(64);
    assert_eq!(run.prefetch, 4);
    assert_eq!(run.arrive(4, 1000), [60]);
    assert_eq!(run.arrive(60, 1000), [0; 0]);
    // Slow methods: nothing was settled.
    let later = Instant::now() + std::time::Duration::from_secs(60);
    run.controller.measure(later, false, 0);
    assert_eq!((run.change(), run.controller.is_exhausted()), (None, true));
}

#[test]
fn quick_methods_get_the_maximum() {
    let mut run = paced(64);
    run.arrive(4, 1000);
    let mut first = 1;
    for _ in 0..3 {
        run.arrive(u64::from(run.prefetch), 1000);
        run.settle(first..=run.next - 1);
        first = run.next;
        run.controller.measure(Instant::now(), false, 0);
        run.change();
    }
    assert!(run.prefetch > 800, "{}", run.prefetch);
}

#[test]
fn deliveries_that_wait_without_a_slot_let_others_arrive() {
    let mut run = paced(4);
    assert_eq!(run.arrive(4, 1000), [0; 0]);
    for limit in [32, 256, 1000] {
        run.controller.measure(Instant::now(), true, 0);
        let prefetch = run.change().expect("the prefetch grows");
        assert!(usize::from(prefetch) + run.controller.queues[0].unsettled >= limit, "{prefetch}");
        run.arrive(u64::from(prefetch), 1000);
    }
    run.controller.measure(Instant::now(), true, 0);
    assert_eq!((run.change(), run.controller.is_exhausted()), (None, false));
}

#[test]
fn deliveries_that_wait_for_their_key_let_no_more_arrive_than_are_handled_soon() {
    let mut run = paced(64);
    run.arrive(4, 1000);
    run.arrive(60, 1000);
    run.controller.measure(Instant::now(), true, 63);
    assert_eq!((run.change(), run.controller.is_exhausted()), (None, true));
    // A few of them do not matter.
    run.controller.measure(Instant::now(), true, 8);
    assert!(run.change().is_some_and(|prefetch| prefetch > 400), "{}", run.prefetch);
}

#[test]
fn bytes_limit_it_at_any_pace() {
    let mut run = Run::of(PrefetchController::new(64 * MIB, 1000, 4, 1));
    assert_eq!(run.arrive(4, 16 * MIB), [0; 0]);
    run.controller.measure(Instant::now(), true, 0);
    assert_eq!(run.change(), None);
}

/// A broker with one queue: the unsettled deliveries of each consumer, and its prefetch.
struct Model {
    unsettled: BTreeMap<u64, (u32, usize)>,
    prefetch_of: BTreeMap<u32, usize>,
}

impl Model {
    fn unsettled_of(&self, consumer_number: u32) -> usize {
        self.unsettled.values().filter(|(of, _)| *of == consumer_number).count()
    }

    /// How many more deliveries a consumer may get.
    fn room(&self, consumer_number: u32) -> usize {
        self.prefetch_of[&consumer_number].saturating_sub(self.unsettled_of(consumer_number))
    }
}

/// Deliveries of random sizes, settled in random order; the old consumer may still get a random part of
/// its prefetch.
fn play(seed: u64, budget: usize, full: u16, sizes: &[usize]) -> (usize, usize) {
    play_with(Run::new(budget, full), seed, sizes)
}

fn play_with(mut run: Run, seed: u64, sizes: &[usize]) -> (usize, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = Model { unsettled: BTreeMap::new(), prefetch_of: BTreeMap::new() };
    model.prefetch_of.insert(run.consumer.consumer_number, usize::from(run.prefetch));
    let (mut most, mut changes) = (0, 0);
    let mut left: VecDeque<usize> = (0..2000).map(|_| sizes[random.usize(..sizes.len())]).collect();
    while !left.is_empty() || !model.unsettled.is_empty() {
        let deliver = |run: &mut Run, model: &mut Model, consumer: ConsumerId, size| {
            run.controller.arrived(run.next, consumer, size);
            model.unsettled.insert(run.next, (consumer.consumer_number, size));
            run.next += 1;
        };
        let has_room = model.room(run.consumer.consumer_number) > 0;
        assert!(has_room || !model.unsettled.is_empty(), "nothing can arrive");
        if has_room && !left.is_empty() && random.u8(..3) > 0 {
            let consumer = run.consumer;
            deliver(&mut run, &mut model, consumer, left.pop_front().expect("some are left"));
        } else if !model.unsettled.is_empty() {
            let at = random.usize(..model.unsettled.len());
            let tag = *model.unsettled.keys().nth(at).expect("one of them");
            model.unsettled.remove(&tag);
            run.controller.settled(tag);
        }
        let bytes: usize = model.unsettled.values().map(|(_, size)| size).sum();
        let queue = &run.controller.queues[0];
        assert_eq!(
            (run.controller.unsettled.bytes(), queue.unsettled),
            (bytes, model.unsettled.len())
        );
        assert_eq!(
            queue.unsettled - queue.from_earlier_consumers,
            model.unsettled_of(run.consumer.consumer_number)
        );
        assert_eq!(run.controller.unsettled.len(), model.unsettled.len());
        most = most.max(bytes);
        if !run.controller.update() {
            continue;
        }
        changes += 1;
        let old = run.consumer;
        let keeps_order = run.controller.queues[0].may_be_quorum && !run.controller.is_throttled;
        assert!(
            !keeps_order || model.room(old.consumer_number) == 0,
            "it may still get deliveries"
        );
        (run.consumer, run.prefetch) = run.controller.next_consumer(0);
        model.prefetch_of.insert(run.consumer.consumer_number, usize::from(run.prefetch));
        let late = random.usize(..=model.room(old.consumer_number)).min(left.len());
        for size in left.drain(..late) {
            deliver(&mut run, &mut model, old, size);
        }
    }
    assert_eq!((run.controller.unsettled.bytes(), run.controller.unsettled.len()), (0, 0));
    (most, changes)
}

#[test]
fn the_controller_agrees_with_a_model_broker_and_never_stalls() {
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
fn deliveries_of_one_size_stay_within_the_budget_with_few_changes() {
    for size in [1, 4, 5, 8, 9, 12, 16].map(|count| count * MIB) {
        for seed in 0..20 {
            let (most, changes) = play(seed, 64 * MIB, 500, &[size]);
            assert!(most <= 64 * MIB, "{most} bytes, of {size}");
            assert!(2 * most > 64 * MIB - size, "{most} bytes, of {size}");
            assert!(changes <= 4, "{changes} changes, of {size}");
        }
    }
}
