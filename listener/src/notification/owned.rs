//! A notification that owns its text, for a call on another thread (`dispatch`), and fields that own their
//! text, which a serializer makes.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::notification::Notification;
use crate::notification::delivery_info::DeliveryInfo;
use crate::notification::fields::Fields;
use crate::notification::priority::Priority;
use crate::notification::states::States;

/// A notification that owns its text.
#[derive(Debug)]
pub(crate) struct OwnedNotification {
    fields: OwnedFields,
    priority: Priority,
    delivery: DeliveryInfo,
    states: States,
    received_at: SystemTime,
    attempt: u32,
}

/// Fields that own their text. A serializer makes them as well.
#[derive(Debug)]
pub(crate) struct OwnedFields {
    pub(crate) message_id: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) publisher_id: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) payload: Box<RawValue>,
    pub(crate) context: Vec<(String, Box<RawValue>)>,
}

impl OwnedNotification {
    pub(crate) fn new(notification: &Notification<'_>) -> Self {
        Self {
            fields: OwnedFields::new(&notification.fields),
            priority: notification.priority,
            delivery: notification.delivery.clone(),
            states: notification.states.clone(),
            received_at: notification.received_at,
            attempt: notification.attempt(),
        }
    }

    pub(crate) fn borrow(&self) -> Notification<'_> {
        let fields = self.fields.borrow();
        Notification::new(fields, self.priority, &self.delivery, &self.states)
            .of_call(self.received_at, self.attempt)
    }
}

impl OwnedFields {
    pub(crate) fn new(fields: &Fields<'_>) -> Self {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        Self {
            message_id: owned(&fields.message_id),
            timestamp: owned(&fields.timestamp),
            publisher_id: owned(&fields.publisher_id),
            event_type: owned(&fields.event_type),
            payload: fields.payload.to_owned(),
            context: fields
                .context
                .iter()
                .map(|(key, value)| (key.to_string(), (*value).to_owned()))
                .collect(),
        }
    }

    pub(crate) fn borrow(&self) -> Fields<'_> {
        Fields {
            message_id: self.message_id.as_deref().map(Cow::Borrowed),
            timestamp: self.timestamp.as_deref().map(Cow::Borrowed),
            publisher_id: self.publisher_id.as_deref().map(Cow::Borrowed),
            event_type: self.event_type.as_deref().map(Cow::Borrowed),
            priority: None,
            unique_id: None,
            payload: &self.payload,
            context: self
                .context
                .iter()
                .map(|(key, value)| (Cow::Borrowed(key.as_str()), &**value))
                .collect(),
        }
    }
}
