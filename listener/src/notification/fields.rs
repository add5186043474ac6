//! The fields of a notification as on the wire, borrowed from its text, without interpreting priority and
//! payload. `envelope::read` makes them.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

/// The fields of a notification. A field that is missing or null is `None`.
///
/// `Debug` shows neither payload nor context values, as they may contain secrets.
#[derive(Clone)]
pub struct Fields<'t> {
    /// The id of the notification, the same for all topics that it is sent to.
    pub message_id: Option<Cow<'t, str>>,
    /// The time of sending: UTC without a zone, usually `2026-05-09 07:29:33.123456`.
    pub timestamp: Option<Cow<'t, str>>,
    /// The publisher, such as `compute.host1`.
    pub publisher_id: Option<Cow<'t, str>>,
    /// The type of event, such as `compute.instance.create.end`.
    pub event_type: Option<Cow<'t, str>>,
    /// The priority as written, usually in upper case.
    pub priority: Option<Cow<'t, str>>,
    /// The id of this body, for detecting duplicates.
    pub unique_id: Option<Cow<'t, str>>,
    /// The payload, any JSON value; null if it is missing.
    pub payload: &'t RawValue,
    /// The context in the order of the wire, without the prefix `_context_`. Each key occurs once.
    pub context: Vec<(Cow<'t, str>, &'t RawValue)>,
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields")
            .field("message_id", &self.message_id)
            .field("timestamp", &self.timestamp)
            .field("publisher_id", &self.publisher_id)
            .field("event_type", &self.event_type)
            .field("priority", &self.priority)
            .field("unique_id", &self.unique_id)
            .field("payload.len()", &self.payload.get().len())
            .field("context", &self.context.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish()
    }
}
