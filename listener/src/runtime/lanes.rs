//! Which delivery is next: a lane for each priority, emptied in turn by weight, so that a flood
//! of `info` holds up no `error`. Also the places to work on them: so many at once, and some of
//! them out of reach of any one lane. Filled and emptied by `mod.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::notification::priority::Priority;
use crate::runtime::worker::Task;

/// A lane for each priority, and one for what names none.
const LANES: usize = Priority::ALL.len() + 1;

/// How often a lane comes to its turn, beside the others.
const fn weight(priority: Option<Priority>) -> i64 {
    match priority {
        Some(Priority::Critical | Priority::Error) => 8,
        Some(Priority::Warn | Priority::Audit | Priority::Info) | None => 4,
        Some(Priority::Sample) => 2,
        Some(Priority::Debug) => 1,
    }
}

/// Deliveries that wait for a place, by lane.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: [Lane; LANES],
    places: Places,
}

#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Task>,
    weight: i64,
    /// Smooth weighted round robin: every lane that waits earns its weight in each round, and
    /// the richest pays for all.
    credit: i64,
}

impl Lanes {
    pub(super) fn new(places: Places) -> Self {
        let lane =
            |priority| Lane { waiting: VecDeque::new(), weight: weight(priority), credit: 0 };
        let lanes = std::array::from_fn(|index| lane(Priority::ALL.get(index).copied()));
        Self { lanes, places }
    }

    /// Puts a delivery into the lane of the routing key that it was sent with.
    pub(super) fn push(&mut self, task: Task) {
        self.lanes[lane_of(&task.marks.origin.routing_key)].waiting.push_back(task);
    }

    /// The next delivery with a place to work on it, if there are both.
    pub(super) fn next(&mut self) -> Option<(Task, Place)> {
        let all = self.places.all.available_permits();
        let eligible = |index: usize, lane: &Lane| {
            !lane.waiting.is_empty() && self.places.lanes[index].available_permits() > 0
        };
        if all == 0 {
            return None;
        }
        let (mut richest, mut total) = (None, 0);
        for index in 0..LANES {
            if !eligible(index, &self.lanes[index]) {
                continue;
            }
            let lane = &mut self.lanes[index];
            lane.credit += lane.weight;
            total += lane.weight;
            if richest.is_none_or(|(_, credit)| lane.credit > credit) {
                richest = Some((index, lane.credit));
            }
        }
        let (index, _) = richest?;
        let place = self.places.try_take(index)?;
        let lane = &mut self.lanes[index];
        lane.credit -= total;
        let task = lane.waiting.pop_front()?;
        if lane.waiting.is_empty() {
            // A lane that did not wait has earned nothing.
            lane.credit = 0;
        }
        Some((task, place))
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// All that wait.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Task> + '_ {
        self.lanes.iter_mut().flat_map(|lane| lane.waiting.drain(..))
    }
}

fn lane_of(routing_key: &str) -> usize {
    let word = routing_key.rsplit_once('.').map_or("", |(_, word)| word);
    word.parse::<Priority>().map_or(LANES - 1, Priority::index)
}

/// The places to work on deliveries.
#[derive(Clone, Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    lanes: [Arc<Semaphore>; LANES],
    freed: Arc<Notify>,
}

/// A place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lane: Option<OwnedSemaphorePermit>,
    all: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
}

impl Places {
    /// So many places, of which no lane may take the last eighth.
    pub(super) fn new(at_once: usize) -> Self {
        let at_once = at_once.min(Semaphore::MAX_PERMITS);
        let a_lane = at_once - at_once / 8;
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            lanes: std::array::from_fn(|_| Arc::new(Semaphore::new(a_lane))),
            freed: Arc::default(),
        }
    }

    fn try_take(&self, lane: usize) -> Option<Place> {
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let lane = Arc::clone(&self.lanes[lane]).try_acquire_owned().ok()?;
        Some(Place { lane: Some(lane), all: Some(all), freed: Arc::clone(&self.freed) })
    }

    /// Waits for a place in the lane of this routing key.
    pub(super) async fn take(&self, routing_key: &str) -> Option<Place> {
        let lane = Arc::clone(&self.lanes[lane_of(routing_key)]).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { lane: Some(lane), all: Some(all), freed: Arc::clone(&self.freed) })
    }

    /// Waits until a place has become free since this was last asked.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop((self.lane.take(), self.all.take()));
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
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
            let marks = Marks::read(&delivery.properties, &delivery.info);
            let in_hand = Arc::new(Hands::default()).take(&delivery);
            lanes.push(Task { delivery, in_hand, marks });
        }
    }

    fn take(lanes: &mut Lanes, count: usize) -> Vec<(String, Place)> {
        std::iter::from_fn(|| lanes.next())
            .take(count)
            .map(|(task, place)| (task.delivery.info.routing_key.to_string(), place))
            .collect()
    }

    fn names(taken: &[(String, Place)]) -> Vec<&str> {
        taken.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_flood_holds_up_nobody() {
        let mut lanes = Lanes::new(Places::new(100));
        push(&mut lanes, "n.info", 50);
        push(&mut lanes, "n.error", 3);
        push(&mut lanes, "n.debug", 1);
        let taken = take(&mut lanes, 7);
        let expected = ["n.error", "n.info", "n.error", "n.error", "n.info", "n.debug", "n.info"];
        assert_eq!(names(&taken), expected);
    }

    #[test]
    fn those_of_a_lane_keep_their_order() {
        let mut lanes = Lanes::new(Places::new(10));
        for key in ["a.info", "b.info", "c.info"] {
            push(&mut lanes, key, 1);
        }
        assert_eq!(names(&take(&mut lanes, 3)), ["a.info", "b.info", "c.info"]);
    }

    #[test]
    fn no_lane_takes_every_place() {
        let places = Places::new(16);
        let mut lanes = Lanes::new(places);
        push(&mut lanes, "n.info", 50);
        let held = take(&mut lanes, 50);
        assert_eq!(held.len(), 14);
        push(&mut lanes, "n.error", 1);
        assert_eq!(names(&take(&mut lanes, 50)), ["n.error"]);
        drop(held);
        assert_eq!(lanes.waiting(), 36);
        assert_eq!(take(&mut lanes, 1).len(), 1);
    }

    #[test]
    fn one_place_is_one_at_a_time() {
        let mut lanes = Lanes::new(Places::new(1));
        push(&mut lanes, "n.info", 2);
        let first = take(&mut lanes, 2);
        assert_eq!(first.len(), 1);
        drop(first);
        assert_eq!(take(&mut lanes, 2).len(), 1);
    }
}
