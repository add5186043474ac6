//! Who waits for whom: deliveries that share a key are worked on one after the other, in the
//! order in which they were taken. What the keys are is `order.rs` and `worker.rs`.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The deliveries of each key that are in work or wait, the one in work first.
#[derive(Debug, Default)]
pub(super) struct Turns {
    digests: [RandomState; 2],
    queues: Mutex<Queues>,
}

/// What is kept of a key, which may be as long as a body. Two keys of one digest, of 2¹²⁸, would wait
/// for each other.
type Digest = (u64, u64);

#[derive(Debug, Default)]
struct Queues {
    last: u64,
    by_key: HashMap<Digest, VecDeque<Place>>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    /// Told when the one before has gone.
    came: Arc<Notify>,
}

/// What a delivery has in common with others that must not be worked on beside it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) keys: Vec<String>,
    /// Whether some are those of an order, which would be lost if the delivery came again later.
    pub(super) in_order: bool,
}

/// A place behind all earlier deliveries of the same keys. Dropped, it lets the next one go.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
    keys: Vec<Digest>,
    in_order: bool,
    came: Arc<Notify>,
}

impl Turns {
    /// Takes a place. Whoever comes later with one of these keys waits for this one; nobody
    /// waits for a later one, so nobody waits in a circle.
    pub(super) fn enter(self: &Arc<Self>, Keys { keys, in_order }: &Keys) -> Turn {
        let [one, other] = &self.digests;
        let digest = |key| (one.hash_one(key), other.hash_one(key));
        let mut keys: Vec<Digest> = keys.iter().map(digest).collect();
        // A key that stands twice must not wait for itself.
        keys.sort_unstable();
        keys.dedup();
        let came = Arc::new(Notify::new());
        let mut queues = self.lock();
        queues.last += 1;
        let number = queues.last;
        for key in &keys {
            let place = Place { number, came: Arc::clone(&came) };
            queues.by_key.entry(*key).or_default().push_back(place);
        }
        drop(queues);
        Turn { turns: Arc::clone(self), number, keys, in_order: *in_order, came }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whether it is the place in an order.
    pub(super) fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// Whether nobody is before it.
    pub(super) fn is_next(&self) -> bool {
        let queues = self.turns.lock();
        let is_first = |key: &Digest| {
            let first = queues.by_key.get(key).and_then(VecDeque::front);
            first.is_some_and(|place| place.number == self.number)
        };
        self.keys.iter().all(is_first)
    }

    /// Waits until nobody is before it.
    pub(super) async fn come(&self) {
        while !self.is_next() {
            // One that is told before it waits here is told all the same.
            self.came.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.turns.lock();
        for key in &self.keys {
            let Some(queue) = queues.by_key.get_mut(key) else { continue };
            // As a rule it is the first.
            if queue.front().is_some_and(|place| place.number == self.number) {
                queue.pop_front();
            } else {
                queue.retain(|place| place.number != self.number);
            }
            match queue.front() {
                Some(next) => next.came.notify_one(),
                None => {
                    queues.by_key.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(turns: &Arc<Turns>, keys: &[&str]) -> Turn {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        turns.enter(&Keys { keys, in_order: true })
    }

    #[tokio::test(start_paused = true)]
    async fn those_of_one_key_come_in_order_and_others_at_once() {
        let turns = Arc::new(Turns::default());
        let (first, second, third) =
            (enter(&turns, &["a"]), enter(&turns, &["a"]), enter(&turns, &["a"]));
        let other = enter(&turns, &["b"]);
        assert_eq!(
            [&first, &second, &third, &other].map(Turn::is_next),
            [true, false, false, true]
        );
        drop(first);
        second.come().await;
        assert!(!third.is_next());
        drop(second);
        third.come().await;
    }

    #[test]
    fn several_keys_wait_for_each() {
        let turns = Arc::new(Turns::default());
        let (a, b) = (enter(&turns, &["a"]), enter(&turns, &["b"]));
        let both = enter(&turns, &["a", "b", "a"]);
        drop(a);
        assert!(!both.is_next());
        drop(b);
        assert!(both.is_next());
    }

    #[test]
    fn one_that_gives_up_before_its_turn_lets_nobody_pass_those_before_it() {
        let turns = Arc::new(Turns::default());
        let first = enter(&turns, &["a"]);
        let second = enter(&turns, &["a"]);
        let third = enter(&turns, &["a"]);
        drop(second);
        assert!(!third.is_next(), "the first is still in work");
        drop(first);
        assert!(third.is_next());
    }

    #[test]
    fn a_key_that_nobody_holds_is_forgotten() {
        let turns = Arc::new(Turns::default());
        drop((enter(&turns, &["a"]), enter(&turns, &["a", "b"])));
        assert!(turns.lock().by_key.is_empty());
    }
}
