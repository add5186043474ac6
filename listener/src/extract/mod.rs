//! Extractors: the arguments of endpoint methods. Five are recognized by their names, all others by types
//! that implement [`FromNotification`].
//!
//! Programs use [`FromNotification`], [`State`], [`Attempt`], [`ReceivedAt`], [`Versioned`], [`Needs`] and
//! [`States`]; the traits named after arguments are for generated code.

pub(crate) mod argument;
mod attempt;
mod from_batch;
pub(crate) mod find_form;
pub(crate) mod form;
pub(crate) mod lifetimes;
pub(crate) mod similar_name;
mod needs;
pub(crate) mod shared;
mod state;
mod trace;
mod versioned;

use std::convert::Infallible;

// Some of these are used only by generated code. They have a public path because the compiler's messages
// would otherwise show the one in `__private`.
pub use self::argument::{
    ArgumentError, ContextArgument, MetadataArgument, PayloadArgument, TextArgument,
};
pub use self::attempt::{Attempt, ReceivedAt};
pub use self::from_batch::FromBatch;
pub use self::lifetimes::{ArgumentLifetime, ReturnedLifetime};
pub use self::needs::Needs;
pub use self::shared::Shared;
pub use self::similar_name::{
    Extracted, MeantContext, MeantEventType, MeantMetadata, MeantPayload, MeantPublisherId,
};
pub use self::state::{MissingState, State};
pub use self::trace::Trace;
pub use self::versioned::{Versioned, VersionedPayload};
pub use crate::notification::states::States;

use crate::notification::Notification;
use crate::notification::delivery_info::DeliveryInfo;
use crate::notification::priority::Priority;
use crate::outcome::BoxError;

/// A type that an endpoint method can take as an argument, whatever the argument's name.
///
/// Extracted once per call of the method, before it. If extraction fails, the method is not called and the
/// notification is dead-lettered without a retry, with the reason `argument` (`version` for a versioned object
/// that the type does not support), unless the listener's [`OnFailure`](crate::options::OnFailure) says
/// otherwise. [`transient`](crate::transient), [`retry_after`](crate::retry_after) and
/// [`classify`](crate::ListenerBuilder::classify) do not apply to extraction errors. Take
/// `Result<T, T::Error>` to handle the error in the method.
///
/// ```
/// use listener::{FromNotification, Notification};
///
/// struct Tenant(String);
///
/// #[derive(Debug)]
/// struct NoTenant;
/// impl std::fmt::Display for NoTenant {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("the context has no project_id")
///     }
/// }
/// impl std::error::Error for NoTenant {}
///
/// impl<'n> FromNotification<'n> for Tenant {
///     type Error = NoTenant;
///
///     fn from_notification(notification: &'n Notification<'n>) -> Result<Self, NoTenant> {
///         let context = notification.context().map_err(|_| NoTenant)?;
///         context.get_str("project_id").map(|id| Tenant(id.to_owned())).ok_or(NoTenant)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a notification",
    label = "not an argument of an endpoint method",
    note = "to deserialize the payload into this type, name the argument `payload`; other named arguments: `ctxt`, `publisher_id`, `event_type`, `metadata`; extractors: `&Notification<'_>`, `Priority`, `&DeliveryInfo`, `State<T>`, or any type that implements `FromNotification`"
)]
pub trait FromNotification<'n>: Sized {
    /// The error if the argument cannot be made.
    type Error: Into<BoxError>;

    /// Makes the argument.
    ///
    /// # Errors
    /// The argument cannot be made from the notification.
    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Self::Error>;

    /// Adds the states that it needs, so that a missing state is an error when the listener is built. Called
    /// once per method, at that time.
    fn requires(needs: &mut Needs) {
        let _ = needs;
    }
}

impl<'n> FromNotification<'n> for &'n Notification<'n> {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(notification)
    }
}

impl<'n> FromNotification<'n> for Priority {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(notification.priority())
    }
}

impl<'n> FromNotification<'n> for &'n DeliveryInfo {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(notification.delivery())
    }
}

/// `None` if the argument cannot be made. It needs no state, so `Option<State<T>>` is an optional state.
impl<'n, T: FromNotification<'n>> FromNotification<'n> for Option<T> {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(T::from_notification(notification).ok())
    }
}

/// The error if the argument cannot be made, which the method handles. It needs no state.
impl<'n, T: FromNotification<'n>> FromNotification<'n> for Result<T, T::Error> {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(T::from_notification(notification))
    }
}
