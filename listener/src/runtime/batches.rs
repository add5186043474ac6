//! Collects the notifications of batch methods: one open batch for each method and priority. Which delivery
//! completes a batch calls the method for all of it, in `judge/batch_call.rs`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::batch::BatchRule;
use crate::batch::outcome::ItemResult;
use crate::dispatch::table::Table;
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
    pub(crate) fn new(table: &Table, options: &ListenerOptions) -> Self {
        let collector = |rule: BatchRule| Collector {
            size: rule.size.unwrap_or(options.batch_size).min(options.prefetch).into(),
            timeout: rule.timeout.unwrap_or(options.batch_timeout).min(MAX_TIMEOUT),
            bytes: rule.bytes.unwrap_or(options.batch_bytes),
            state: Mutex::default(),
        };
        Self(table.batches().into_iter().map(collector).collect())
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
