//! A notification as outputs other than the broker receive it. Made by `../fan_out.rs`.
//! Outputs to the broker have `../message.rs`.

use std::fmt;

use serde_json::Value;

use crate::notification::context::Context;
use crate::notification::priority::Priority;
use crate::notifier::retry::Retry;

/// A notification on its way to an output: serialized, its context redacted.
///
/// `Debug` shows neither context nor payload, as they may contain secrets.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct OutputNotification {
    /// The id, the same for all outputs and topics.
    pub message_id: String,
    /// The publisher.
    pub publisher_id: Option<String>,
    /// The type of event.
    pub event_type: String,
    /// The priority.
    pub priority: Priority,
    /// The payload.
    pub payload: Value,
    /// The time of the call, in UTC, as on the wire.
    pub timestamp: String,
    /// The context, redacted.
    pub context: Context,
    /// How often the caller wants it to be sent again.
    pub retry: Retry,
}

impl fmt::Debug for OutputNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputNotification")
            .field("message_id", &self.message_id)
            .field("publisher_id", &self.publisher_id)
            .field("event_type", &self.event_type)
            .field("priority", &self.priority)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
