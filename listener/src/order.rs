//! What notifications have in common that are worked on one after the other: `ordered_by` of an
//! endpoint or of a listener. Read when the listener is built, asked by the runtime for each
//! delivery; who waits for whom is `runtime/schedule/key_order.rs`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::notification::Notification;

/// A part of notifications: those in which it is equal are worked on in sequence.
///
/// ```
/// use listener::OrderKey;
///
/// let key: OrderKey = "payload.instance_id".parse()?;
/// assert_eq!(key, OrderKey::Payload("instance_id".to_owned()));
/// assert!("payload".parse::<OrderKey>().is_err());
/// # Ok::<(), listener::error::UnknownOrderKey>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OrderKey {
    /// Who sent it.
    PublisherId,
    /// What happened.
    EventType,
    /// A value of the payload's top level, of any kind: an object or a list counts by what it
    /// holds, not by its spaces or the order of its keys.
    Payload(String),
    /// A value of the context.
    Context(String),
}

/// A text names no part of a notification.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} names no part of a notification; expected `publisher_id`, `event_type`, `payload.KEY` or `context.KEY`"
)]
pub struct UnknownOrderKey {
    /// The text.
    found: String,
}

impl OrderKey {
    /// The part as text; `None` where the notification does not have it, and then it waits for
    /// nobody.
    pub(crate) fn of(&self, notification: &Notification<'_>) -> Option<String> {
        let raw = match self {
            Self::PublisherId => return notification.publisher_id().map(str::to_owned),
            Self::EventType => return notification.event_type().map(str::to_owned),
            Self::Payload(key) => notification.payload_value(key),
            Self::Context(key) => notification.context_value(key),
        };
        raw.map(|raw| canonical(raw.get())).filter(|text| text != "null")
    }
}

/// One text for one value: JSON writes characters, objects, lists and fractions in more than one
/// way. A whole number and the same one with a fraction, `1` and `1.0`, stay two.
fn canonical(raw: &str) -> String {
    let is_canonical = match raw.as_bytes() {
        [b'"', ..] => !raw.contains('\\'),
        bytes => bytes.iter().all(u8::is_ascii_alphanumeric),
    };
    if is_canonical {
        return raw.to_owned();
    }
    serde_json::from_str::<Value>(raw).map_or_else(
        |_| raw.to_owned(),
        |mut value| {
            // They are sorted unless a crate of the program turns on `preserve_order`.
            value.sort_all_objects();
            value.to_string()
        },
    )
}

impl FromStr for OrderKey {
    type Err = UnknownOrderKey;

    fn from_str(text: &str) -> Result<Self, UnknownOrderKey> {
        match text.split_once('.') {
            None if text == "publisher_id" => Ok(Self::PublisherId),
            None if text == "event_type" => Ok(Self::EventType),
            Some(("payload", key)) if !key.is_empty() => Ok(Self::Payload(key.to_owned())),
            Some(("context", key)) if !key.is_empty() => Ok(Self::Context(key.to_owned())),
            _ => Err(UnknownOrderKey { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublisherId => f.write_str("publisher_id"),
            Self::EventType => f.write_str("event_type"),
            Self::Payload(key) => write!(f, "payload.{key}"),
            Self::Context(key) => write!(f, "context.{key}"),
        }
    }
}

debug_is_the_message!(UnknownOrderKey);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::notification::fields::Fields;
    use crate::notification::priority::Priority;
    use crate::notification::states::States;

    fn check(key: &str, expected: Option<&str>) {
        let user = serde_json::from_str(r#""u1""#).expect("JSON");
        let fields = Fields {
            message_id: None,
            timestamp: None,
            publisher_id: Some("compute.host1".into()),
            event_type: None,
            priority: None,
            unique_id: None,
            payload: serde_json::from_str(r#"{"id": 7, "none": null}"#).expect("JSON"),
            context: vec![("user".into(), user)],
        };
        let (delivery, states) = (DeliveryInfo::new("q", "", "t.info"), States::default());
        let notification = Notification::new(fields, Priority::Info, &delivery, &states);
        let key: OrderKey = key.parse().expect("a key");
        assert_eq!(key.of(&notification).as_deref(), expected);
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn a_key_is_the_text_of_its_part() {
        check("publisher_id", Some("compute.host1"));
        check("payload.id", Some("7"));
        check("context.user", Some(r#""u1""#));
    }

    #[test]
    fn a_part_that_is_missing_orders_nothing() {
        check("event_type", None);
        check("payload.none", None);
        check("payload.other", None);
        check("context.other", None);
    }

    #[test]
    fn what_names_no_part_is_refused() {
        for text in ["", "payload", "payload.", "publisher", "metadata.message_id"] {
            assert!(text.parse::<OrderKey>().is_err(), "{text}");
        }
    }
}
