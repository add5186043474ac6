//! Which delivery is next: a lane for each priority, emptied in turn by weight, so that a flood
//! of `info` holds up no `error`. Also the places to work on them: so many at once, and some of
//! them out of reach of any one lane. Filled and emptied by `crew.rs`.

use std::collections::VecDeque;

use crate::notification::priority::Priority;
use crate::runtime::options::Executor;
use crate::runtime::worker::Task;

/// A lane for each priority, and one for what names none.
pub(super) const LANES: usize = Priority::ALL.len() + 1;

/// How often a lane comes to its turn, beside the others.
const fn weight(priority: Option<Priority>) -> i64 {
    match priority {
        Some(Priority::Critical | Priority::Error) => 8,
        Some(Priority::Warn | Priority::Audit | Priority::Info) | None => 4,
        Some(Priority::Sample) => 2,
        Some(Priority::Debug) => 1,
    }
}

/// Deliveries that wait for a place, by lane, and the places.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: [Queue; LANES],
    /// How many places are free.
    free: usize,
    /// Whether all go into one lane, in the order in which they came.
    in_order: bool,
}

/// One of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane(usize);

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Task>,
    weight: i64,
    /// Smooth weighted round robin: every lane that waits earns its weight in each round, and
    /// the richest pays for all.
    credit: i64,
    /// How many places this lane may still take.
    free: usize,
    /// How many deliveries ask for a place that were begun before.
    asking: usize,
}

impl Lane {
    /// The lane of a routing key, which ends in a priority or names none.
    pub(super) fn of(routing_key: &str) -> Self {
        let word = routing_key.rsplit_once('.').map_or("", |(_, word)| word);
        Self(word.parse::<Priority>().map_or(LANES - 1, Priority::index))
    }

    pub(super) const fn index(self) -> usize {
        self.0
    }
}

impl Queue {
    fn can_go_on(&self) -> bool {
        !self.waiting.is_empty() && self.free > self.asking
    }
}

impl Lanes {
    /// As many places as this executor works on at once, of which no lane may take the last
    /// eighth.
    pub(super) fn new(executor: Executor) -> Self {
        let places = executor.at_once();
        let free = part(places);
        let lane = |priority| Queue {
            waiting: VecDeque::new(),
            weight: weight(priority),
            credit: 0,
            free,
            asking: 0,
        };
        let lanes = std::array::from_fn(|index| lane(Priority::ALL.get(index).copied()));
        Self { lanes, free: places, in_order: executor == Executor::Sequential }
    }

    /// Puts a delivery into the lane of the routing key that it was sent with; into the one
    /// lane there is where the order of arrival is kept.
    pub(super) fn push(&mut self, task: Task) {
        let Lane(index) =
            if self.in_order { Lane(0) } else { Lane::of(&task.marks.origin.routing_key) };
        self.lanes[index].waiting.push_back(task);
    }

    /// Whether there is a delivery with a place to work on it.
    pub(super) fn can_go_on(&self) -> bool {
        self.has_free() && self.lanes.iter().any(Queue::can_go_on)
    }

    /// Whether a place is free beside those that others ask for.
    pub(super) fn has_free(&self) -> bool {
        let claimed = self.lanes.iter().map(|lane| lane.asking.min(lane.free)).sum();
        self.free > claimed
    }

    /// Whether nothing waits.
    pub(super) fn are_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// The next delivery with a place to work on it, if there are both.
    pub(super) fn next(&mut self) -> Option<(Task, Lane)> {
        if !self.has_free() {
            return None;
        }
        let (mut richest, mut total) = (None, 0);
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.can_go_on() {
                continue;
            }
            lane.credit += lane.weight;
            total += lane.weight;
            if richest.is_none_or(|(_, credit)| lane.credit > credit) {
                richest = Some((index, lane.credit));
            }
        }
        let (index, _) = richest?;
        let lane = &mut self.lanes[index];
        lane.credit -= total;
        let task = lane.waiting.pop_front()?;
        if lane.waiting.is_empty() {
            // A lane that did not wait has earned nothing.
            lane.credit = 0;
        }
        lane.free -= 1;
        self.free -= 1;
        Some((task, Lane(index)))
    }

    /// A delivery of this lane asks for a place from now on, before those that wait.
    pub(super) fn ask(&mut self, Lane(index): Lane) {
        self.lanes[index].asking += 1;
    }

    /// One that asked does so no more.
    pub(super) fn asked(&mut self, Lane(index): Lane) {
        self.lanes[index].asking -= 1;
    }

    /// Whether any ask.
    pub(super) fn are_asking(&self) -> bool {
        self.lanes.iter().any(|lane| lane.asking > 0)
    }

    /// Takes a place for a delivery of this lane that asks for it, if there is one.
    pub(super) fn take(&mut self, Lane(index): Lane) -> bool {
        let lane = &mut self.lanes[index];
        let is_free = self.free > 0 && lane.free > 0;
        if is_free {
            lane.free -= 1;
            self.free -= 1;
        }
        is_free
    }

    /// A place of this lane is free again.
    pub(super) fn free(&mut self, Lane(index): Lane) {
        self.lanes[index].free += 1;
        self.free += 1;
    }

    /// All that wait.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Task> + '_ {
        self.lanes.iter_mut().flat_map(|lane| lane.waiting.drain(..))
    }
}

/// How much of what all lanes have one may take at most: the last eighth is out of reach of any one.
pub(super) const fn part(all: usize) -> usize {
    all - all / 8
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::runtime::hands::Hands;
    use crate::runtime::headers::Marks;
    use crate::transport::delivery::{Delivery, Properties, Settle, Settlement, Settler};
    use crate::transport::error::SettleError;

    struct Nobody;

    impl Settler for Nobody {
        fn settle(&self, _: u64, _: Settle) -> Result<(), SettleError> {
            Ok(())
        }

        fn is_over(&self) -> bool {
            false
        }
    }

    fn push(lanes: &mut Lanes, key: &str, count: usize) {
        for _ in 0..count {
            let settlement = Settlement::new(Arc::new(Nobody), 1);
            let info = DeliveryInfo::new(key, "", key);
            let delivery = Delivery::new(Bytes::new(), Properties::default(), info, settlement);
            let marks = Marks::read(&delivery.properties, &delivery.info, |_| true);
            let in_hand = Arc::new(Hands::default()).take(&delivery);
            lanes.push(Task {
                delivery,
                in_hand,
                marks,
                turn: None,
                text: None,
                key: None,
                recorded: None,
                is_alone: false,
                alone: None,
                is_last: false,
                shut: None,
                received_at: std::time::SystemTime::UNIX_EPOCH,
            });
        }
    }

    fn take(lanes: &mut Lanes, count: usize) -> Vec<(String, Lane)> {
        std::iter::from_fn(|| lanes.next())
            .take(count)
            .map(|(task, place)| (task.delivery.info.routing_key.to_string(), place))
            .collect()
    }

    fn free(lanes: &mut Lanes, taken: Vec<(String, Lane)>) {
        taken.into_iter().for_each(|(_, lane)| lanes.free(lane));
    }

    fn names(taken: &[(String, Lane)]) -> Vec<&str> {
        taken.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_flood_holds_up_nobody() {
        let mut lanes = Lanes::new(Executor::Concurrent(100));
        push(&mut lanes, "n.info", 50);
        push(&mut lanes, "n.error", 3);
        push(&mut lanes, "n.debug", 1);
        let taken = take(&mut lanes, 7);
        let expected = ["n.error", "n.info", "n.error", "n.error", "n.info", "n.debug", "n.info"];
        assert_eq!(names(&taken), expected);
    }

    #[test]
    fn those_of_a_lane_keep_their_order() {
        let mut lanes = Lanes::new(Executor::Concurrent(10));
        for key in ["a.info", "b.info", "c.info"] {
            push(&mut lanes, key, 1);
        }
        assert_eq!(names(&take(&mut lanes, 3)), ["a.info", "b.info", "c.info"]);
    }

    #[test]
    fn no_lane_takes_every_place() {
        let mut lanes = Lanes::new(Executor::Concurrent(16));
        push(&mut lanes, "n.info", 50);
        let held = take(&mut lanes, 50);
        assert_eq!(held.len(), 14);
        push(&mut lanes, "n.error", 1);
        assert!(lanes.can_go_on());
        assert_eq!(names(&take(&mut lanes, 50)), ["n.error"]);
        assert!(!lanes.can_go_on());
        let lane = held[0].1;
        assert!(!lanes.take(lane), "the last eighth is for others");
        free(&mut lanes, held);
        assert!(lanes.take(lane));
        lanes.free(lane);
        assert_eq!(take(&mut lanes, 50).len(), 14);
        assert_eq!(lanes.drain().count(), 36 - 14);
    }

    #[test]
    fn who_asks_for_a_place_comes_before_those_who_wait_and_keeps_no_other_lane_from_its_own() {
        let mut lanes = Lanes::new(Executor::Concurrent(16));
        push(&mut lanes, "n.info", 16);
        let held = take(&mut lanes, 50);
        let lane = held[0].1;
        lanes.ask(lane);
        push(&mut lanes, "n.error", 2);
        assert_eq!(names(&take(&mut lanes, 1)), ["n.error"]);
        lanes.free(lane);
        assert_eq!(names(&take(&mut lanes, 50)), ["n.error"]);
        assert!(lanes.take(lane));
        lanes.asked(lane);
        assert!(!lanes.are_asking());
        lanes.free(lane);
        assert_eq!(names(&take(&mut lanes, 50)), ["n.info"]);
    }

    #[test]
    fn one_after_the_other_is_the_order_of_arrival() {
        let mut lanes = Lanes::new(Executor::Sequential);
        let keys = ["n.debug", "n.info", "n.error", "n.info"];
        let mut begun = Vec::new();
        keys.iter().for_each(|key| push(&mut lanes, key, 1));
        while let [(name, lane)] = take(&mut lanes, 1).as_slice() {
            begun.push(name.clone());
            lanes.free(*lane);
        }
        assert_eq!(begun, keys);
    }

    #[test]
    fn one_place_is_one_at_a_time() {
        let mut lanes = Lanes::new(Executor::Concurrent(1));
        push(&mut lanes, "n.info", 2);
        let first = take(&mut lanes, 2);
        assert_eq!(first.len(), 1);
        free(&mut lanes, first);
        assert_eq!(take(&mut lanes, 2).len(), 1);
    }
}
