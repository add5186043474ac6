//! The outcomes of a batch: one for all notifications, or one for each. `runtime` acts on each as on that of a
//! single notification.

use std::fmt;
use std::sync::Arc;

use crate::outcome::{BoxError, Failure, IntoOutcome, MethodResult, Outcome};

/// The position of a notification in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemIndex(pub(super) usize);

/// The outcomes of a batch, one for each notification.
///
/// ```
/// use listener::{Batch, BatchOutcome, Outcome};
///
/// fn check(batch: &Batch<'_, u64>) -> BatchOutcome {
///     let mut outcomes = BatchOutcome::handled();
///     for item in batch {
///         if item.payload == 0 {
///             outcomes.set(item.index(), Outcome::retry());
///         }
///     }
///     outcomes
/// }
/// ```
///
/// [`Batch::each`](crate::Batch::each) makes one from a function; it can also be collected from pairs of an index and an outcome,
/// and is then a failure for each item that has none.
#[must_use = "the outcomes have no effect unless the method returns them"]
pub struct BatchOutcome {
    /// The outcome of the items that have none of their own.
    others: Option<MethodResult>,
    items: Vec<(ItemIndex, MethodResult)>,
}

/// The result for one notification.
#[derive(Debug)]
pub struct ItemResult {
    /// Its result.
    pub result: MethodResult,
    /// Whether it is that of several notifications together: another one may have caused it.
    pub is_shared: bool,
}

/// The results of a call, in the order of its notifications.
pub type BatchResult = Vec<ItemResult>;

impl BatchOutcome {
    /// All notifications are handled, unless [`set`](Self::set) changes it for some.
    pub const fn handled() -> Self {
        Self { others: Some(Ok(Outcome::Handled)), items: Vec::new() }
    }

    /// This outcome for all notifications, unless [`set`](Self::set) changes it for some.
    pub fn all(outcome: impl IntoOutcome) -> Self {
        Self { others: Some(outcome.into_outcome()), items: Vec::new() }
    }

    /// A failure for all notifications without an outcome of their own.
    pub(super) const fn without_default() -> Self {
        Self { others: None, items: Vec::new() }
    }

    /// Sets the outcome of one notification; the last one counts. An index of another batch that this one does
    /// not have is ignored.
    pub fn set(&mut self, item: ItemIndex, outcome: impl IntoOutcome) {
        self.items.push((item, outcome.into_outcome()));
    }

    /// The result of each item: those with `positions`, in this order.
    pub(super) fn into_results(self, positions: &[usize]) -> Vec<(usize, ItemResult)> {
        let mut own: Vec<Option<MethodResult>> = Vec::new();
        own.resize_with(positions.iter().max().map_or(0, |last| last + 1), || None);
        for (ItemIndex(index), result) in self.items {
            if let Some(place) = own.get_mut(index) {
                *place = Some(result);
            }
        }
        let others = Others::new(self.others, positions.len());
        let mut result = |position: &usize| {
            let own = own[*position].take();
            let result = own.map(|result| ItemResult { result, is_shared: false });
            (*position, result.unwrap_or_else(|| others.next()))
        };
        positions.iter().map(&mut result).collect()
    }
}

impl<R: IntoOutcome> FromIterator<(ItemIndex, R)> for BatchOutcome {
    fn from_iter<I: IntoIterator<Item = (ItemIndex, R)>>(outcomes: I) -> Self {
        let items = outcomes.into_iter().map(|(index, outcome)| (index, outcome.into_outcome()));
        Self { others: None, items: items.collect() }
    }
}

impl fmt::Debug for BatchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchOutcome").field("items", &self.items.len()).finish_non_exhaustive()
    }
}

/// Gives each of several items the same result.
struct Others {
    result: Result<Outcome, Arc<Failure>>,
    is_shared: bool,
}

impl Others {
    fn new(result: Option<MethodResult>, items: usize) -> Self {
        let is_shared = items > 1 && result.is_some();
        let result = result.unwrap_or_else(|| {
            Err(Failure::Error("the method returned no outcome for this notification".into()))
        });
        Self { result: result.map_err(Arc::new), is_shared }
    }

    fn next(&self) -> ItemResult {
        let result = match &self.result {
            Ok(outcome) => Ok(outcome.clone()),
            Err(failure) => Err(Failure::Batch(Arc::clone(failure))),
        };
        ItemResult { result, is_shared: self.is_shared }
    }
}

/// The same failure for a number of notifications.
pub(crate) fn failed(failure: Failure, items: usize) -> BatchResult {
    let others = Others::new(Some(Err(failure)), items);
    (0..items).map(|_| others.next()).collect()
}

/// The return types of a batch method: those of a method for single notifications, for one outcome of all; and
/// [`BatchOutcome`] and `Result<BatchOutcome, E>`, for one of each.
#[diagnostic::on_unimplemented(
    message = "a batch method cannot return `{Self}`",
    label = "not an outcome of a batch",
    note = "return `BatchOutcome` or `Result<BatchOutcome, E>` for one outcome of each notification, or, for one of all, `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`; `E` is a `String`, a `Box<dyn Error + Send + Sync>` (`listener::BoxError`), or a type that implements `std::error::Error + Send + Sync + 'static`"
)]
pub trait IntoBatchOutcome {
    /// Converts the returned value.
    fn into_batch_outcome(self) -> BatchOutcome;
}

impl IntoBatchOutcome for BatchOutcome {
    fn into_batch_outcome(self) -> BatchOutcome {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<T: IntoOutcome> IntoBatchOutcome for T {
    fn into_batch_outcome(self) -> BatchOutcome {
        BatchOutcome::all(self)
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoBatchOutcome for Result<BatchOutcome, E> {
    fn into_batch_outcome(self) -> BatchOutcome {
        self.unwrap_or_else(|error| BatchOutcome {
            others: Some(Err(Failure::Error(error.into()))),
            items: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(outcome: BatchOutcome, positions: &[usize]) -> Vec<(usize, String, bool)> {
        let results = outcome.into_results(positions).into_iter();
        let text = |ItemResult { result, .. }: &ItemResult| match result {
            Ok(outcome) => outcome.to_string(),
            Err(failure) => failure.to_string(),
        };
        results.map(|(at, result)| (at, text(&result), result.is_shared)).collect()
    }

    #[track_caller]
    fn check(outcome: BatchOutcome, positions: &[usize], expected: &[(usize, &str, bool)]) {
        let expected: Vec<_> =
            expected.iter().map(|(at, text, shared)| (*at, (*text).to_owned(), *shared)).collect();
        assert_eq!(texts(outcome, positions), expected);
    }

    #[test]
    fn one_outcome_is_that_of_all() {
        check(().into_batch_outcome(), &[0, 2], &[(0, "handled", true), (2, "handled", true)]);
        let failed = Err::<(), _>("no database").into_batch_outcome();
        check(failed, &[1, 2], &[(1, "no database", true), (2, "no database", true)]);
        let failed = Err::<BatchOutcome, _>("no database").into_batch_outcome();
        check(failed, &[1], &[(1, "no database", false)]);
    }

    #[test]
    fn an_item_may_have_an_outcome_of_its_own() {
        let mut outcome = BatchOutcome::handled();
        outcome.set(ItemIndex(2), Outcome::retry());
        outcome.set(ItemIndex(2), Outcome::Requeue);
        outcome.set(ItemIndex(9), Outcome::retry());
        check(outcome, &[0, 2], &[(0, "handled", true), (2, "requeue", false)]);
    }

    #[test]
    fn a_missing_outcome_is_a_failure_of_that_item() {
        let outcome: BatchOutcome = [(ItemIndex(1), ())].into_iter().collect();
        let missing = "the method returned no outcome for this notification";
        check(outcome, &[0, 1], &[(0, missing, false), (1, "handled", false)]);
    }
}
