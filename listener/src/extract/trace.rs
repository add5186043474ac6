//! `Trace`: the trace of a notification as an argument. `notification/trace.rs` reads it from the context, where
//! the sender wrote it.

use std::convert::Infallible;

use crate::extract::FromNotification;
use crate::notification::Notification;
use crate::notification::trace::TraceContext;

/// The trace that the sender put into the context; `None` without a valid one.
///
/// ```
/// use listener::{Notifier, State, Trace, notification_endpoint};
///
/// struct Forwards;
///
/// #[notification_endpoint(register = false)]
/// impl Forwards {
///     async fn info(&self, Trace(trace): Trace, notifier: State<Notifier>) {
///         let notifier = trace.map(|trace| notifier.with_trace_context(trace));
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(pub Option<TraceContext>);

impl<'n> FromNotification<'n> for Trace {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(Self(notification.trace_context()))
    }
}
