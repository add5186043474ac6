//! How the arguments of an endpoint method are made from a notification: five are recognised by their
//! names, all others by types that implement [`FromNotification`].

pub(crate) mod argument;
mod attempt;
pub(crate) mod meant;
mod needs;
pub(crate) mod shared;
mod state;
mod versioned;

use std::convert::Infallible;

// Of those that only the attribute uses, for the compiler's messages: of what has no public path it writes
// the one in `__private`.
pub use self::argument::{
    ContextArgument, FallibleArgument, MetadataArgument, OptionalContext, OptionalPayload,
    PayloadArgument, TextArgument,
};
pub use self::attempt::{Attempt, ReceivedAt};
pub use self::meant::{
    MeantContext, MeantEventType, MeantMetadata, MeantPayload, MeantPublisherId,
};
pub use self::needs::Needs;
pub use self::shared::Shared;
pub use self::state::{MissingState, State};
pub use self::versioned::{Versioned, VersionedPayload};
pub use crate::notification::states::States;

use crate::notification::Notification;
use crate::notification::delivery_info::DeliveryInfo;
use crate::notification::priority::Priority;
use crate::outcome::BoxError;

/// A type that an endpoint method can take as an argument, whatever the argument's name.
///
/// Called once per call of the method, before it. An error means that the method is not
/// called; the notification then goes the way of a failed one.
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
    message = "`{Self}` cannot be taken from a notification",
    label = "not an argument of an endpoint method",
    note = "a type that the payload is read into is an argument named `payload`; by name too: `ctxt`, `publisher_id`, `event_type`, `metadata`; by type: `&Notification<'_>`, `Priority`, `&DeliveryInfo`, `State<T>`, or any type that implements `FromNotification`"
)]
pub trait FromNotification<'n>: Sized {
    /// Why it could not be made.
    type Error: Into<BoxError>;

    /// Makes the argument.
    ///
    /// # Errors
    /// What the notification lacks.
    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Self::Error>;

    /// Says what the listener must have been given, so that what is missing is an error
    /// when the listener is built. Called once per method, then.
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

/// What may be missing: `None` when it cannot be made. Nothing is required of the listener, so
/// `Option<State<T>>` is a state that need not be given.
impl<'n, T: FromNotification<'n>> FromNotification<'n> for Option<T> {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(T::from_notification(notification).ok())
    }
}

/// What may be missing, with the reason: the method decides what then becomes of the
/// notification. Nothing is required of the listener.
impl<'n, T: FromNotification<'n>> FromNotification<'n> for Result<T, T::Error> {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(T::from_notification(notification))
    }
}
