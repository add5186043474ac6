//! Batches: what a method with the argument `batch` takes, and what it returns. `read.rs` makes a batch for
//! generated code, `outcome.rs` has the outcomes. `runtime/batches.rs` collects the notifications.

pub(crate) mod outcome;
pub(crate) mod read;
mod rule;

use std::fmt;
use std::ops::Deref;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

pub use self::outcome::{BatchOutcome, IntoBatchOutcome, ItemIndex};
pub use self::rule::BatchRule;

use crate::notification::context::Context;
use crate::notification::metadata::Metadata;
use crate::notification::priority::Priority;
use crate::notification::{Notification, PartError};
use crate::outcome::IntoOutcome;

/// The notifications of one call of a batch method: those of one priority that the method wants, in the order
/// in which they arrived. It is never empty.
///
/// A method that takes `batch: Batch<'_, T>` is called for several notifications at once, with their payloads
/// deserialized into `T`. The call is made when [`size`](crate::ListenerBuilder::batch_size) notifications
/// wait, when the bodies reach [`bytes`](crate::ListenerBuilder::batch_bytes), when the
/// [`timeout`](crate::ListenerBuilder::batch_timeout) that began with the first one is over, or when the
/// listener stops. `#[on(info, batch(size = 50, timeout = "500ms"))]` sets them for one method. The method
/// may take states and the [`Priority`] as well.
///
/// Each notification keeps its own delivery: retries, dead letters, the order and the inbox are those of a
/// single one. A payload that does not fit `T` is dead-lettered and not in the batch;
/// with `Batch<'_, Result<T, PartError>>` the method handles it.
///
/// ```
/// use listener::{Batch, BatchOutcome, Outcome, notification_endpoint};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Sample {
///     volume: f64,
/// }
///
/// #[derive(Default)]
/// struct Metering;
///
/// #[notification_endpoint]
/// impl Metering {
///     /// One result for all.
///     #[on(sample, batch(size = 100, timeout = "1s"))]
///     async fn store(&self, batch: Batch<'_, Sample>) -> Result<(), std::io::Error> {
///         let total: f64 = batch.iter().map(|item| item.payload.volume).sum();
///         println!("{} samples: {total}", batch.len());
///         Ok(())
///     }
///
///     /// One outcome for each.
///     #[on(info, batch(size = 50, timeout = "500ms"))]
///     async fn bill(&self, batch: Batch<'_, Sample>) -> BatchOutcome {
///         batch
///             .each(async |item| match item.payload.volume {
///                 volume if volume < 0.0 => Outcome::dead_letter("negative volume"),
///                 _ => Outcome::Handled,
///             })
///             .await
///     }
/// }
/// ```
///
/// If a call fails as a whole (an error, a panic, a timeout), each notification is retried; one whose attempts
/// are used up, or whose error is permanent, is first passed to the method in a batch of its own, so that one
/// bad notification does not make dead letters of the others.
pub struct Batch<'n, T> {
    items: Vec<BatchItem<'n, T>>,
}

/// A notification of a [`Batch`].
pub struct BatchItem<'n, T> {
    /// The payload.
    pub payload: T,
    notification: &'n Notification<'n>,
    index: ItemIndex,
}

impl<'n, T> Batch<'n, T> {
    /// The items, to keep them in another form.
    #[must_use]
    pub fn into_items(self) -> Vec<BatchItem<'n, T>> {
        self.items
    }

    /// The payloads, without the rest of the notifications.
    #[must_use]
    pub fn into_payloads(self) -> Vec<T> {
        self.items.into_iter().map(|item| item.payload).collect()
    }

    /// Calls a function for each item, in sequence, and collects the outcomes. Each may return what a method
    /// returns for a single notification.
    pub async fn each<F, Fut>(self, mut each: F) -> BatchOutcome
    where
        F: FnMut(BatchItem<'n, T>) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let mut outcomes = BatchOutcome::without_default();
        for item in self.items {
            let index = item.index;
            outcomes.set(index, each(item).await);
        }
        outcomes
    }

    /// As [`each`](Self::each), for `limit` items at a time; 0 counts as 1.
    pub async fn each_concurrent<F, Fut>(self, limit: usize, mut each: F) -> BatchOutcome
    where
        F: FnMut(BatchItem<'n, T>) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let mut items = self.items.into_iter();
        let mut running = FuturesUnordered::new();
        let mut outcomes = BatchOutcome::without_default();
        loop {
            while running.len() < limit.max(1)
                && let Some(item) = items.next()
            {
                running.push(indexed(item.index, each(item)));
            }
            match running.next().await {
                Some((index, outcome)) => outcomes.set(index, outcome),
                None => return outcomes,
            }
        }
    }
}

async fn indexed<Fut: Future>(index: ItemIndex, outcome: Fut) -> (ItemIndex, Fut::Output) {
    (index, outcome.await)
}

impl<'n, T> Deref for Batch<'n, T> {
    type Target = [BatchItem<'n, T>];

    fn deref(&self) -> &[BatchItem<'n, T>] {
        &self.items
    }
}

impl<'n, T> IntoIterator for Batch<'n, T> {
    type Item = BatchItem<'n, T>;
    type IntoIter = std::vec::IntoIter<BatchItem<'n, T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'b, 'n, T> IntoIterator for &'b Batch<'n, T> {
    type Item = &'b BatchItem<'n, T>;
    type IntoIter = std::slice::Iter<'b, BatchItem<'n, T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<'n, T> BatchItem<'n, T> {
    /// Identifies the item in a [`BatchOutcome`].
    #[must_use]
    pub const fn index(&self) -> ItemIndex {
        self.index
    }

    /// The whole notification.
    #[must_use]
    pub const fn notification(&self) -> &'n Notification<'n> {
        self.notification
    }

    /// The context.
    ///
    /// # Errors
    /// As [`Notification::context`].
    pub fn ctxt(&self) -> Result<&'n Context, PartError> {
        self.notification.context()
    }

    /// The publisher; empty if it is null or missing.
    #[must_use]
    pub fn publisher_id(&self) -> &'n str {
        self.notification.publisher_id().unwrap_or_default()
    }

    /// The type of event; empty if it is null or missing.
    #[must_use]
    pub fn event_type(&self) -> &'n str {
        self.notification.event_type().unwrap_or_default()
    }

    /// Message id and timestamp.
    #[must_use]
    pub fn metadata(&self) -> &'n Metadata {
        self.notification.metadata()
    }

    /// The priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.notification.priority()
    }

    /// The number of this attempt for the notification, starting at 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.notification.attempt()
    }
}

/// Suitable for logs: shows no payloads.
impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.items).finish()
    }
}

/// Suitable for logs: shows no payload.
impl<T> fmt::Debug for BatchItem<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notification.fmt(f)
    }
}
