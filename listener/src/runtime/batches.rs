//! Collects the notifications of batch methods: one open batch for each method and priority. Which delivery
//! completes a batch calls the method for all of it, in `judge/batch_call.rs`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::batch::outcome::ItemResult;
use crate::dispatch::table::{Table, TableBatch};
use crate::notification::owned::OwnedNotification;
use crate::options::listener::ListenerOptions;
use crate::transport::delivery::Settler;
use crate::transport::driver::MAX_TIMEOUT;

/// The collectors of a listener, by `BatchEntry::index`.
#[derive(Debug, Default)]
pub(crate) struct Batches(Vec<Collector>);

/// Collects the notifications of one method and priority.
pub(crate) struct Collector {
    size: usize,
    timeout: Duration,
    bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the open batch.
    number: u64,
    /// Empty if none is open.
    items: Vec<BatchItem>,
    bytes: usize,
    deadline: Option<Instant>,
}

/// A notification in a batch.
pub(crate) struct BatchItem {
    pub(crate) notification: OwnedNotification,
    /// Whether its session is over, so that the broker redelivers it.
    pub(crate) settler: Arc<dyn Settler>,
    /// Receives its result. Dropped without one if the method is not called.
    pub(crate) reply: oneshot::Sender<ItemResult>,
}

/// What follows for a delivery that joined a batch.
pub(crate) enum Joined {
    /// It completed the batch: it calls the method.
    Complete(Vec<BatchItem>),
    /// It waits for others until the deadline; whoever takes the batch then calls the method.
    Waiting(OpenBatch),
}

/// An open batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenBatch {
    number: u64,
    pub(crate) deadline: Instant,
}

impl Batches {
    /// The collectors of the methods that take batches. The notifications that wait in all batches of a queue
    /// are never as many as its prefetch, nor as large as all that may be in flight: otherwise the broker would
    /// deliver none that completes a batch.
    pub(crate) fn new(table: &Table, options: &ListenerOptions, has_pool: bool) -> Self {
        let batches = table.batches();
        let size = |batch: &TableBatch| usize::from(batch.rule.size.unwrap_or(options.batch_size));
        let bytes = options.bytes_in_flight / (batches.len() + 1);
        let collector = |batch: &TableBatch| {
            let shares_queue = |other: &&TableBatch| has_pool || other.priority == batch.priority;
            let of_queue: usize = batches.iter().filter(shares_queue).map(size).sum();
            let rule = batch.rule;
            Collector {
                size: fitting(size(batch), of_queue, options.prefetch.into()),
                timeout: rule.timeout.unwrap_or(options.batch_timeout).min(MAX_TIMEOUT),
                bytes: rule.bytes.unwrap_or(options.batch_bytes).min(bytes).max(1),
                state: Mutex::default(),
            }
        };
        Self(batches.iter().map(collector).collect())
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Collector> {
        self.0.get(index)
    }

    /// Whether any method takes a batch.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many notifications may be waiting for batches to be completed.
    pub(crate) fn capacity(&self) -> usize {
        self.0.iter().map(|collector| collector.size).sum()
    }
}

/// The size of a batch, in proportion if all batches of its queue together exceed the prefetch.
fn fitting(size: usize, of_queue: usize, prefetch: usize) -> usize {
    if of_queue <= prefetch {
        return size;
    }
    (size * prefetch / of_queue).max(1)
}

impl Collector {
    /// Adds a notification whose body has this length to the open batch, or opens one.
    pub(crate) fn join(&self, item: BatchItem, bytes: usize) -> Joined {
        let mut state = self.lock();
        state.items.push(item);
        state.bytes += bytes;
        if state.items.len() >= self.size || state.bytes >= self.bytes {
            return Joined::Complete(state.take());
        }
        let deadline = *state.deadline.get_or_insert_with(|| Instant::now() + self.timeout);
        Joined::Waiting(OpenBatch { number: state.number, deadline })
    }

    /// Takes a batch, unless another delivery has taken it.
    pub(crate) fn take(&self, open: OpenBatch) -> Option<Vec<BatchItem>> {
        let mut state = self.lock();
        (state.number == open.number).then(|| state.take())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, timeout, bytes, .. } = self;
        write!(f, "Collector({size}, {timeout:?}, {bytes} bytes)")
    }
}

impl State {
    fn take(&mut self) -> Vec<BatchItem> {
        let number = self.number + 1;
        std::mem::replace(self, Self { number, ..Self::default() }).items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_wait_together_fit_into_the_prefetch() {
        assert_eq!(fitting(100, 700, 1000), 100);
        assert_eq!(fitting(1000, 1000, 10), 10);
        assert_eq!([fitting(300, 900, 300), fitting(600, 900, 300)], [100, 200]);
        assert_eq!(fitting(1, 500, 10), 1);
    }
}
