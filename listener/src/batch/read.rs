//! Makes the batch of a call, in generated code: payloads that do not fit become failures of their notifications.
//! The outcomes that the method returns are in `outcome.rs`.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;

use super::outcome::{self, BatchOutcome, BatchResult, ItemIndex, ItemResult};
use super::{Batch, BatchItem};
use crate::extract::argument::PayloadArgument;
use crate::notification::{Notification, PartError};
use crate::outcome::Failure;

/// The notifications of a call that are not in its batch, and the positions of those that are.
#[derive(Debug)]
pub struct Unread {
    failed: Vec<(usize, Failure)>,
    positions: Vec<usize>,
}

/// Reads the payloads of a batch, each of type `T` with the form `F`.
pub fn batch<'n, F: Copy, T: PayloadArgument<'n, F>>(
    form: F,
    _: PhantomData<fn(T) -> T>,
    notifications: &'n [Notification<'n>],
) -> (Batch<'n, T>, Unread) {
    let mut unread =
        Unread { failed: Vec::new(), positions: Vec::with_capacity(notifications.len()) };
    let mut items = Vec::with_capacity(notifications.len());
    for (position, notification) in notifications.iter().enumerate() {
        match T::take(form, notification) {
            Ok(payload) => {
                items.push(BatchItem { payload, notification, index: ItemIndex(position) });
                unread.positions.push(position);
            }
            Err(error) => unread.failed.push((position, failure(error))),
        }
    }
    (Batch { items }, unread)
}

fn failure(error: PartError) -> Failure {
    Failure::Argument { argument: "payload", source: error.into() }
}

impl Unread {
    /// Whether nothing is left for the method.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.positions.is_empty()
    }

    /// The results of a call of the method.
    #[must_use]
    pub fn and(self, outcome: BatchOutcome) -> BatchResult {
        let read = outcome.into_results(&self.positions);
        self.with(read)
    }

    /// The results if the method was not called, because all notifications are unread.
    #[must_use]
    pub fn alone(self) -> BatchResult {
        self.with(Vec::new())
    }

    /// The results if another argument could not be made.
    #[must_use]
    pub fn and_failure(self, failure: Failure) -> BatchResult {
        let failed = outcome::failed(failure, self.positions.len());
        let read = self.positions.iter().copied().zip(failed).collect();
        self.with(read)
    }

    fn with(self, read: Vec<(usize, ItemResult)>) -> BatchResult {
        let own =
            |(position, failure)| (position, ItemResult { result: Err(failure), is_shared: false });
        let mut results: Vec<_> = self.failed.into_iter().map(own).chain(read).collect();
        results.sort_by_key(|(position, _)| *position);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// The future of a batch method. The values that it holds across an await must be `Send`.
pub fn boxed_batch<'n, F>(future: F) -> BoxFuture<'n, BatchResult>
where
    F: Future<Output = BatchResult> + 'n,
    F: Send, // help: end its scope before the `.await` (a block, not `drop`), or use `Arc` for `Rc`, or a `tokio::sync` lock
{
    Box::pin(future)
}
