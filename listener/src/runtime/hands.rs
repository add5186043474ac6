//! What the listener has in hand: each delivery from the moment it is taken until it is settled.
//! Health is read from it, and deliveries that take long are found in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::health::QueueHealth;
use crate::transport::delivery::Delivery;

#[derive(Debug, Default)]
pub(super) struct Hands(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: Vec<Option<Hand>>,
    /// The places in `held` that are free.
    free: Vec<usize>,
    settled: BTreeMap<Arc<str>, Settled>,
}

#[derive(Debug)]
struct Hand {
    queue: Arc<str>,
    since: Instant,
    in_work: bool,
    told: bool,
}

#[derive(Debug)]
struct Settled {
    count: u64,
    last: Instant,
}

/// A delivery in hand, until this is dropped.
#[derive(Debug)]
pub(super) struct InHand {
    hands: Arc<Hands>,
    place: usize,
    since: Instant,
}

impl Hands {
    /// Takes a delivery in hand.
    pub(super) fn take(self: &Arc<Self>, delivery: &Delivery) -> InHand {
        let since = Instant::now();
        let hand =
            Hand { queue: Arc::clone(&delivery.info.queue), since, in_work: false, told: false };
        let place = self.lock().put(hand);
        InHand { hands: Arc::clone(self), place, since }
    }

    /// The deliveries that have been in hand for longer than this, each told once.
    pub(super) fn slow(&self, limit: Duration) -> Vec<(Arc<str>, Duration)> {
        let mut inner = self.lock();
        let hands = inner.held.iter_mut().flatten();
        let slow = hands.filter(|hand| !hand.told && hand.since.elapsed() >= limit);
        slow.map(|hand| {
            hand.told = true;
            (Arc::clone(&hand.queue), hand.since.elapsed())
        })
        .collect()
    }

    /// Whether anything of this queue is or was in hand.
    pub(super) fn knows(&self, queue: &str) -> bool {
        let inner = self.lock();
        inner.settled.contains_key(queue) || inner.hands().any(|hand| &*hand.queue == queue)
    }

    /// How each of these queues stands.
    pub(super) fn health<'q>(&self, queues: impl Iterator<Item = &'q str>) -> Vec<QueueHealth> {
        let inner = self.lock();
        let health = |queue: &str| {
            let of_queue = || inner.hands().filter(|hand| &*hand.queue == queue);
            let settled = inner.settled.get(queue);
            QueueHealth {
                queue: queue.to_owned(),
                in_hand: of_queue().count(),
                in_work: of_queue().filter(|hand| hand.in_work).count(),
                oldest: of_queue().map(|hand| hand.since.elapsed()).max(),
                settled: settled.map_or(0, |settled| settled.count),
                last_settled: settled.map(|settled| settled.last.elapsed()),
            }
        };
        queues.map(health).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, hand: Hand) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.held[place] = Some(hand);
                place
            }
            None => {
                self.held.push(Some(hand));
                self.held.len() - 1
            }
        }
    }

    fn hands(&self) -> impl Iterator<Item = &Hand> {
        self.held.iter().flatten()
    }
}

impl InHand {
    /// For how long.
    pub(super) fn since(&self) -> Duration {
        self.since.elapsed()
    }

    /// Methods are called for it from now on.
    pub(super) fn begins(&self) {
        if let Some(hand) = &mut self.hands.lock().held[self.place] {
            hand.in_work = true;
        }
    }

    /// It is settled for good.
    pub(super) fn settled(&self) {
        let mut inner = self.hands.lock();
        let Inner { held, settled, .. } = &mut *inner;
        let Some(hand) = &held[self.place] else { return };
        let now = Instant::now();
        match settled.get_mut(&hand.queue) {
            Some(settled) => {
                settled.count += 1;
                settled.last = now;
            }
            None => {
                settled.insert(Arc::clone(&hand.queue), Settled { count: 1, last: now });
            }
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut inner = self.hands.lock();
        inner.held[self.place] = None;
        inner.free.push(self.place);
    }
}
