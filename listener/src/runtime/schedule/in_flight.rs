//! The deliveries in flight: each from the moment it is received until it is settled or released. Health reports are
//! made from this, and slow deliveries are found in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::health::QueueHealth;
use crate::transport::delivery::Delivery;

#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Option<InFlightEntry>>,
    /// The free indices of `entries`.
    free: Vec<usize>,
    acknowledged: BTreeMap<Arc<str>, Acknowledged>,
}

#[derive(Debug)]
struct InFlightEntry {
    queue: Arc<str>,
    since: Instant,
    started: bool,
    reported: bool,
}

#[derive(Debug)]
struct Acknowledged {
    count: u64,
    last: Instant,
}

/// Keeps a delivery in flight until dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard {
    all: Arc<InFlight>,
    index: usize,
    since: Instant,
}

impl InFlight {
    /// Adds a delivery.
    pub(crate) fn add(self: &Arc<Self>, delivery: &Delivery) -> InFlightGuard {
        let since = Instant::now();
        let entry = InFlightEntry {
            queue: Arc::clone(&delivery.info.queue),
            since,
            started: false,
            reported: false,
        };
        let index = self.lock().put(entry);
        InFlightGuard { all: Arc::clone(self), index, since }
    }

    /// The deliveries that have been in flight for longer than this; each is returned once.
    pub(crate) fn slow(&self, limit: Duration) -> Vec<(Arc<str>, Duration)> {
        let mut inner = self.lock();
        let entries = inner.entries.iter_mut().flatten();
        let slow = entries.filter(|entry| !entry.reported && entry.since.elapsed() >= limit);
        slow.map(|entry| {
            entry.reported = true;
            (Arc::clone(&entry.queue), entry.since.elapsed())
        })
        .collect()
    }

    /// Whether a delivery of this queue is in flight, or one was acknowledged.
    pub(crate) fn knows(&self, queue: &str) -> bool {
        let inner = self.lock();
        inner.acknowledged.contains_key(queue) || inner.iter().any(|entry| &*entry.queue == queue)
    }

    /// The health of each of these queues.
    pub(crate) fn health<'q>(&self, queues: impl Iterator<Item = &'q str>) -> Vec<QueueHealth> {
        let inner = self.lock();
        let health = |queue: &str| {
            let of_queue = || inner.iter().filter(|entry| &*entry.queue == queue);
            let acknowledged = inner.acknowledged.get(queue);
            QueueHealth {
                queue: queue.to_owned(),
                in_flight: of_queue().count(),
                started: of_queue().filter(|entry| entry.started).count(),
                oldest_age: of_queue().map(|entry| entry.since.elapsed()).max(),
                acknowledged: acknowledged.map_or(0, |acknowledged| acknowledged.count),
                last_acknowledged: acknowledged.map(|acknowledged| acknowledged.last.elapsed()),
            }
        };
        queues.map(health).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, entry: InFlightEntry) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.entries[index] = Some(entry);
                index
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() - 1
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &InFlightEntry> {
        self.entries.iter().flatten()
    }
}

impl InFlightGuard {
    /// How long it has been in flight.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Marks it as in work: its methods are called from now on.
    pub(crate) fn start_work(&self) {
        if let Some(entry) = &mut self.all.lock().entries[self.index] {
            entry.started = true;
        }
    }

    /// Counts it as acknowledged.
    pub(crate) fn acknowledged(&self) {
        let mut inner = self.all.lock();
        let Inner { entries, acknowledged, .. } = &mut *inner;
        let Some(entry) = &entries[self.index] else { return };
        let now = Instant::now();
        match acknowledged.get_mut(&entry.queue) {
            Some(acknowledged) => {
                acknowledged.count += 1;
                acknowledged.last = now;
            }
            None => {
                acknowledged.insert(Arc::clone(&entry.queue), Acknowledged { count: 1, last: now });
            }
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut inner = self.all.lock();
        inner.entries[self.index] = None;
        inner.free.push(self.index);
    }
}
