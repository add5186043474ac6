//! Arguments of a batch method next to the batch: those that are the same for all of its notifications. The
//! batch itself is in `batch/`.

use crate::extract::{FromNotification, Needs, State};
use crate::notification::Notification;
use crate::notification::priority::Priority;

/// An extractor whose value is the same for all notifications of a batch, so that a batch method can take it.
///
/// It is extracted from the first one. Implement it for an extractor that depends on the listener only:
///
/// ```
/// use listener::extract::{FromBatch, MissingState};
/// use listener::{FromNotification, Notification, State};
///
/// #[derive(Clone)]
/// struct Pool;
///
/// struct Connection(Pool);
///
/// impl<'n> FromNotification<'n> for Connection {
///     type Error = MissingState;
///
///     fn from_notification(notification: &'n Notification<'n>) -> Result<Self, MissingState> {
///         let pool: State<Pool> = State::from_notification(notification)?;
///         Ok(Connection((*pool).clone()))
///     }
/// }
///
/// impl FromBatch<'_> for Connection {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a batch method",
    label = "not the same for all notifications of a batch",
    note = "take it from each item (`item.notification()`, `item.ctxt()`, `item.event_type()`); next to `batch`, a method can take `State<T>`, `Priority`, and extractors that implement `FromBatch`"
)]
pub trait FromBatch<'n>: FromNotification<'n> {
    /// Makes the argument from the first notification of a batch.
    ///
    /// # Errors
    /// As [`from_notification`](FromNotification::from_notification).
    fn from_batch(first: &'n Notification<'n>) -> Result<Self, Self::Error> {
        Self::from_notification(first)
    }

    /// Adds the states that it needs.
    fn batch_requires(needs: &mut Needs) {
        Self::requires(needs);
    }
}

impl<'n, T: Send + Sync + 'static> FromBatch<'n> for State<T> where State<T>: FromNotification<'n> {}
impl FromBatch<'_> for Priority {}
impl<'n, T: FromBatch<'n>> FromBatch<'n> for Option<T> {}
impl<'n, T: FromBatch<'n>> FromBatch<'n> for Result<T, T::Error> {}
