//! Which item is next: a queue per priority, served by weight, so that a flood of `info` does not delay
//! `error`. Also the slots to work on items; of eight or more, no queue may occupy all. Used by
//! `scheduler.rs`,
//! whose items are cases.

use std::collections::VecDeque;

use crate::notification::priority::Priority;
use crate::options::listener::Executor;

/// The number of queues: one per priority, and one for routing keys without a priority.
pub(crate) const QUEUES: usize = Priority::ALL.len() + 1;

/// The share of a queue in the round robin.
const fn weight(priority: Option<Priority>) -> i64 {
    match priority {
        Some(Priority::Critical | Priority::Error) => 8,
        Some(Priority::Warn | Priority::Audit | Priority::Info) | None => 4,
        Some(Priority::Sample) => 2,
        Some(Priority::Debug) => 1,
    }
}

/// Deliveries that wait for a slot, by priority, and the free slots.
#[derive(Debug)]
pub(crate) struct PriorityQueues<T> {
    queues: [Queue<T>; QUEUES],
    /// Free slots.
    free_slots: usize,
    /// Whether all deliveries use one queue, in the order of arrival.
    in_order: bool,
}

/// Which of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueIndex(usize);

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    weight: i64,
    /// Smooth weighted round robin: each `next` adds the weight to every queue that can begin a delivery
    /// (one that waits and has a slot), and the queue with the most credit is served and pays the total.
    credit: i64,
    /// Slots this queue may still acquire.
    free_slots: usize,
    /// Deliveries begun before that wait to reacquire a slot.
    resuming: usize,
}

impl QueueIndex {
    /// The queue of a routing key, which may end in a priority.
    pub(crate) fn of(routing_key: &str) -> Self {
        let word = routing_key.rsplit_once('.').map_or("", |(_, word)| word);
        Self(word.parse::<Priority>().map_or(QUEUES - 1, Priority::index))
    }

    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

impl<T> Queue<T> {
    fn can_begin(&self) -> bool {
        !self.waiting.is_empty() && self.free_slots > self.resuming
    }
}

impl<T> PriorityQueues<T> {
    /// As many slots as the executor has; one queue may acquire seven eighths of them at most.
    pub(crate) fn new(executor: Executor) -> Self {
        let slots = executor.at_once();
        let free_slots = largest_share(slots);
        let queue = |priority| Queue {
            waiting: VecDeque::new(),
            weight: weight(priority),
            credit: 0,
            free_slots,
            resuming: 0,
        };
        let queues = std::array::from_fn(|index| queue(Priority::ALL.get(index).copied()));
        Self { queues, free_slots: slots, in_order: executor == Executor::Sequential }
    }

    /// Adds an item to its queue, or to the only queue where the order of
    /// arrival is kept.
    pub(crate) fn push(&mut self, QueueIndex(index): QueueIndex, item: T) {
        let index = if self.in_order { 0 } else { index };
        self.queues[index].waiting.push_back(item);
    }

    /// Whether a delivery can be begun.
    pub(crate) fn can_begin(&self) -> bool {
        self.has_free_slot() && self.queues.iter().any(Queue::can_begin)
    }

    /// Whether a slot is free that no begun delivery waits for.
    pub(crate) fn has_free_slot(&self) -> bool {
        let claimed = self.queues.iter().map(|queue| queue.resuming.min(queue.free_slots)).sum();
        self.free_slots > claimed
    }

    /// Whether no delivery waits.
    pub(crate) fn has_no_items(&self) -> bool {
        self.queues.iter().all(|queue| queue.waiting.is_empty())
    }

    /// The next delivery to begin; acquires a slot for it.
    pub(crate) fn next(&mut self) -> Option<(T, QueueIndex)> {
        if !self.has_free_slot() {
            return None;
        }
        let (mut chosen, mut total) = (None, 0);
        for (index, queue) in self.queues.iter_mut().enumerate() {
            if !queue.can_begin() {
                continue;
            }
            queue.credit += queue.weight;
            total += queue.weight;
            if chosen.is_none_or(|(_, credit)| queue.credit > credit) {
                chosen = Some((index, queue.credit));
            }
        }
        let (index, _) = chosen?;
        let queue = &mut self.queues[index];
        queue.credit -= total;
        let item = queue.waiting.pop_front()?;
        if queue.waiting.is_empty() {
            // Credit is only earned while deliveries wait.
            queue.credit = 0;
        }
        queue.free_slots -= 1;
        self.free_slots -= 1;
        Some((item, QueueIndex(index)))
    }

    /// A begun delivery of this queue waits for a slot, with precedence over those not begun.
    pub(crate) fn begin_resuming(&mut self, QueueIndex(index): QueueIndex) {
        self.queues[index].resuming += 1;
    }

    /// A begun delivery waits no longer.
    pub(crate) fn end_resuming(&mut self, QueueIndex(index): QueueIndex) {
        self.queues[index].resuming -= 1;
    }

    /// Whether begun deliveries wait for a slot.
    pub(crate) fn has_resuming(&self) -> bool {
        self.queues.iter().any(|queue| queue.resuming > 0)
    }

    /// Acquires a slot for a begun delivery of this queue; whether one was free.
    pub(crate) fn try_acquire(&mut self, QueueIndex(index): QueueIndex) -> bool {
        let queue = &mut self.queues[index];
        let is_free = self.free_slots > 0 && queue.free_slots > 0;
        if is_free {
            queue.free_slots -= 1;
            self.free_slots -= 1;
        }
        is_free
    }

    /// Frees a slot of this queue.
    pub(crate) fn free(&mut self, QueueIndex(index): QueueIndex) {
        self.queues[index].free_slots += 1;
        self.free_slots += 1;
    }

    /// Removes all waiting deliveries.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.queues.iter_mut().flat_map(|queue| queue.waiting.drain(..))
    }
}

/// How much one queue may use of a resource that all queues share: all but an eighth, rounded down;
/// everything if there are fewer than eight.
pub(crate) const fn largest_share(all: usize) -> usize {
    all - all / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    type Queues = PriorityQueues<String>;

    fn push(queues: &mut Queues, key: &str, count: usize) {
        (0..count).for_each(|_| queues.push(QueueIndex::of(key), key.to_owned()));
    }

    fn take(queues: &mut Queues, count: usize) -> Vec<(String, QueueIndex)> {
        std::iter::from_fn(|| queues.next()).take(count).collect()
    }

    fn free(queues: &mut Queues, taken: Vec<(String, QueueIndex)>) {
        taken.into_iter().for_each(|(_, queue)| queues.free(queue));
    }

    fn names(taken: &[(String, QueueIndex)]) -> Vec<&str> {
        taken.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_flood_of_one_priority_does_not_delay_the_others() {
        let mut queues = Queues::new(Executor::Concurrent(100));
        push(&mut queues, "n.info", 50);
        push(&mut queues, "n.error", 3);
        push(&mut queues, "n.debug", 1);
        let taken = take(&mut queues, 7);
        let expected = ["n.error", "n.info", "n.error", "n.error", "n.info", "n.debug", "n.info"];
        assert_eq!(names(&taken), expected);
    }

    #[test]
    fn a_queue_keeps_its_order() {
        let mut queues = Queues::new(Executor::Concurrent(10));
        for key in ["a.info", "b.info", "c.info"] {
            push(&mut queues, key, 1);
        }
        assert_eq!(names(&take(&mut queues, 3)), ["a.info", "b.info", "c.info"]);
    }

    #[test]
    fn no_queue_acquires_every_slot() {
        let mut queues = Queues::new(Executor::Concurrent(16));
        push(&mut queues, "n.info", 50);
        let held = take(&mut queues, 50);
        assert_eq!(held.len(), 14);
        push(&mut queues, "n.error", 1);
        assert!(queues.can_begin());
        assert_eq!(names(&take(&mut queues, 50)), ["n.error"]);
        assert!(!queues.can_begin());
        let queue = held[0].1;
        assert!(!queues.try_acquire(queue), "the last eighth is for other priorities");
        free(&mut queues, held);
        assert!(queues.try_acquire(queue));
        queues.free(queue);
        assert_eq!(take(&mut queues, 50).len(), 14);
        assert_eq!(queues.drain().count(), 36 - 14);
    }

    #[test]
    fn a_begun_delivery_has_precedence_in_its_own_queue_only() {
        let mut queues = Queues::new(Executor::Concurrent(16));
        push(&mut queues, "n.info", 16);
        let held = take(&mut queues, 50);
        let queue = held[0].1;
        queues.begin_resuming(queue);
        push(&mut queues, "n.error", 2);
        assert_eq!(names(&take(&mut queues, 1)), ["n.error"]);
        queues.free(queue);
        assert_eq!(names(&take(&mut queues, 50)), ["n.error"]);
        assert!(queues.try_acquire(queue));
        queues.end_resuming(queue);
        assert!(!queues.has_resuming());
        queues.free(queue);
        assert_eq!(names(&take(&mut queues, 50)), ["n.info"]);
    }

    #[test]
    fn a_sequential_executor_keeps_the_order_of_arrival() {
        let mut queues = Queues::new(Executor::Sequential);
        let keys = ["n.debug", "n.info", "n.error", "n.info"];
        let mut begun = Vec::new();
        keys.iter().for_each(|key| push(&mut queues, key, 1));
        while let [(name, queue)] = take(&mut queues, 1).as_slice() {
            begun.push(name.clone());
            queues.free(*queue);
        }
        assert_eq!(begun, keys);
    }

    #[test]
    fn with_one_slot_one_item_is_begun_at_a_time() {
        let mut queues = Queues::new(Executor::Concurrent(1));
        push(&mut queues, "n.info", 2);
        let first = take(&mut queues, 2);
        assert_eq!(first.len(), 1);
        free(&mut queues, first);
        assert_eq!(take(&mut queues, 2).len(), 1);
    }
}
