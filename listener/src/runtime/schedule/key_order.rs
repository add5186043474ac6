//! The key order: deliveries that share a key are handled in sequence, in the order in which they were
//! taken. The keys are made in `keys.rs` from what `order.rs` selects.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// For each key the deliveries that are being handled or wait; the one that is being handled is first.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    digests: [RandomState; 2],
    queues: Mutex<Queues>,
}

/// The digest of a key, which may be as long as a body. Two keys with the same 128-bit digest would wait
/// for each other.
type Digest = (u64, u64);

#[derive(Debug, Default)]
struct Queues {
    last: u64,
    by_key: HashMap<Digest, VecDeque<Position>>,
}

#[derive(Debug)]
struct Position {
    number: u64,
    /// Notified when the previous one is done.
    next: Arc<Notify>,
}

/// The keys of a delivery: others with one of them must not be worked on at the same time.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<String>,
    /// Whether some are keys of an order, which would be lost if the delivery were redelivered later.
    pub(crate) in_order: bool,
}

/// A position after all earlier deliveries that share a key with it. Dropping it lets the next ones
/// begin.
#[derive(Debug)]
pub(crate) struct Ticket {
    order: Arc<KeyOrder>,
    number: u64,
    keys: Vec<Digest>,
    in_order: bool,
    next: Arc<Notify>,
}

impl KeyOrder {
    /// Takes a position. Later deliveries with one of these keys wait for this one; none waits for a
    /// later one, so there are no circles.
    pub(crate) fn enter(self: &Arc<Self>, Keys { keys, in_order }: &Keys) -> Ticket {
        let [one, other] = &self.digests;
        let digest = |key| (one.hash_one(key), other.hash_one(key));
        let mut keys: Vec<Digest> = keys.iter().map(digest).collect();
        // A key that occurs twice must not wait for itself.
        keys.sort_unstable();
        keys.dedup();
        let next = Arc::new(Notify::new());
        let mut queues = self.lock();
        queues.last += 1;
        let number = queues.last;
        for key in &keys {
            let position = Position { number, next: Arc::clone(&next) };
            queues.by_key.entry(*key).or_default().push_back(position);
        }
        drop(queues);
        Ticket { order: Arc::clone(self), number, keys, in_order: *in_order, next }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Whether it is a position in an order.
    pub(crate) fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// Whether no other delivery is before it.
    pub(crate) fn is_next(&self) -> bool {
        let queues = self.order.lock();
        let is_first = |key: &Digest| {
            let first = queues.by_key.get(key).and_then(VecDeque::front);
            first.is_some_and(|position| position.number == self.number)
        };
        self.keys.iter().all(is_first)
    }

    /// Waits until no other delivery is before it.
    pub(crate) async fn wait(&self) {
        while !self.is_next() {
            // A notification between the check and the wait is stored.
            self.next.notified().await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queues = self.order.lock();
        for key in &self.keys {
            let Some(queue) = queues.by_key.get_mut(key) else { continue };
            // Usually it is the first.
            if queue.front().is_some_and(|position| position.number == self.number) {
                queue.pop_front();
            } else {
                queue.retain(|position| position.number != self.number);
            }
            match queue.front() {
                Some(first) => first.next.notify_one(),
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

    fn enter(order: &Arc<KeyOrder>, keys: &[&str]) -> Ticket {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        order.enter(&Keys { keys, in_order: true })
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_of_one_key_are_next_in_order_and_others_immediately() {
        let order = Arc::new(KeyOrder::default());
        let (first, second, third) =
            (enter(&order, &["a"]), enter(&order, &["a"]), enter(&order, &["a"]));
        let other = enter(&order, &["b"]);
        assert_eq!(
            [&first, &second, &third, &other].map(Ticket::is_next),
            [true, false, false, true]
        );
        drop(first);
        second.wait().await;
        assert!(!third.is_next());
        drop(second);
        third.wait().await;
    }

    #[test]
    fn a_delivery_with_several_keys_waits_for_each() {
        let order = Arc::new(KeyOrder::default());
        let (a, b) = (enter(&order, &["a"]), enter(&order, &["b"]));
        let both = enter(&order, &["a", "b", "a"]);
        drop(a);
        assert!(!both.is_next());
        drop(b);
        assert!(both.is_next());
    }

    #[test]
    fn a_dropped_waiting_ticket_lets_no_other_overtake() {
        let order = Arc::new(KeyOrder::default());
        let first = enter(&order, &["a"]);
        let second = enter(&order, &["a"]);
        let third = enter(&order, &["a"]);
        drop(second);
        assert!(!third.is_next(), "the first is still being handled");
        drop(first);
        assert!(third.is_next());
    }

    #[test]
    fn a_key_without_tickets_is_removed() {
        let order = Arc::new(KeyOrder::default());
        drop((enter(&order, &["a"]), enter(&order, &["a", "b"])));
        assert!(order.lock().by_key.is_empty());
    }
}
