//! The fields of a notification as they stand on the wire, borrowed from its text. What the
//! priority and the payload mean is not known here. Found by `envelope::read`.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

/// The fields of a notification. A field that is missing or null is `None`.
///
/// `Debug` shows neither payload nor context values, for they hold secrets.
#[derive(Clone)]
pub struct Fields<'t> {
    /// The id of the notification, one for all topics that it is sent to.
    pub message_id: Option<Cow<'t, str>>,
    /// When it was made: UTC without a zone, as a rule `2026-05-09 07:29:33.123456`.
    pub timestamp: Option<Cow<'t, str>>,
    /// Who made it, such as `compute.host1`.
    pub publisher_id: Option<Cow<'t, str>>,
    /// What happened, such as `compute.instance.create.end`.
    pub event_type: Option<Cow<'t, str>>,
    /// The priority as it is written, as a rule in upper case.
    pub priority: Option<Cow<'t, str>>,
    /// The id of this very body, for finding duplicates.
    pub unique_id: Option<Cow<'t, str>>,
    /// The payload, any JSON value; null if it is missing.
    pub payload: &'t RawValue,
    /// The context in the order of the wire, without the prefix `_context_`. Each key is
    /// there once.
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
