//! The fields of a notification as they stand on the wire, borrowed from its text.
//! Read by `envelope`; given a priority and a delivery, they become a `Notification`.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The fields of a notification, before its priority is known to be one.
#[derive(Debug)]
pub struct Fields<'t> {
    /// The sender's id of the message.
    pub message_id: Option<Cow<'t, str>>,
    /// When it was sent.
    pub timestamp: Option<Cow<'t, str>>,
    /// Who sent it.
    pub publisher_id: Option<Cow<'t, str>>,
    /// What happened.
    pub event_type: Option<Cow<'t, str>>,
    /// The priority as written, in whatever case.
    pub priority: Option<Cow<'t, str>>,
    /// The sender's id of this sending, new for each topic.
    pub unique_id: Option<Cow<'t, str>>,
    /// The payload; `null` when it is missing.
    pub payload: &'t RawValue,
    /// The context, without the prefix `_context_`.
    pub context: Vec<(Cow<'t, str>, &'t RawValue)>,
}
