//! Order keys: `ordered_by` of an endpoint or of a listener. Parsed when the listener is built; the runtime
//! evaluates them for each delivery, and `runtime/schedule/key_order.rs` keeps the order.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::notification::Notification;

/// A part of a notification. Notifications in which it is equal are handled in sequence.
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
    /// The publisher.
    PublisherId,
    /// The event type.
    EventType,
    /// A value of the payload's top level, of any kind. Objects and lists are compared by content: white
    /// space and the order of keys do not matter.
    Payload(String),
    /// A value of the context.
    Context(String),
}

/// The text is not an order key.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a part of a notification; expected `publisher_id`, `event_type`, `payload.KEY` or `context.KEY`"
)]
pub struct UnknownOrderKey {
    /// The text.
    found: String,
}

impl OrderKey {
    /// The value as text; `None` if the notification does not have it: then it is not ordered.
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

/// The same text for equal values: JSON has several spellings of characters, objects, lists and fractions.
/// An integer and the equal fraction, `1` and `1.0`, stay different.
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
            // They are sorted already, unless a crate of the program enables `preserve_order`.
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
    fn a_missing_part_gives_no_key() {
        check("event_type", None);
        check("payload.none", None);
        check("payload.other", None);
        check("context.other", None);
    }

    #[test]
    fn a_text_that_is_not_a_part_is_refused() {
        for text in ["", "payload", "payload.", "publisher", "metadata.message_id"] {
            assert!(text.parse::<OrderKey>().is_err(), "{text}");
        }
    }
}
