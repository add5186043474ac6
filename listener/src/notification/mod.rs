//! A decoded notification, for endpoint methods, filters and extractors, borrowed from the text of one
//! delivery. `envelope` decodes the text; settlement is not known here.

pub(crate) mod context;
pub(crate) mod delivery_info;
pub(crate) mod fields;
pub(crate) mod metadata;
pub(crate) mod owned;
pub(crate) mod priority;
pub(crate) mod states;
pub(crate) mod trace;

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::notification::context::Context;
use crate::notification::delivery_info::DeliveryInfo;
use crate::notification::fields::Fields;
use crate::notification::metadata::Metadata;
use crate::notification::priority::Priority;
use crate::notification::states::States;
use crate::notification::trace::TraceContext;

/// One notification, borrowed from its body.
///
/// Context and payload are parsed on demand; the context is parsed once for all endpoint methods.
pub struct Notification<'n> {
    fields: Fields<'n>,
    priority: Priority,
    delivery: &'n DeliveryInfo,
    states: &'n States,
    received_at: SystemTime,
    /// The number of the present call. Methods are called one after the other.
    attempt: u32,
    context: OnceLock<Result<Context, PartError>>,
    metadata: OnceLock<Metadata>,
}

impl<'n> Notification<'n> {
    /// A notification with these fields (see `envelope::read`), received now. A listener makes them from
    /// deliveries; programs can make them to test their own extractors.
    ///
    /// ```
    /// use listener::extract::States;
    /// use listener::{Attempt, DeliveryInfo, FromNotification, Notification, Priority};
    ///
    /// let fields = listener::envelope::read(r#"{"message_id": "7c5f", "payload": {"n": 1}}"#)?;
    /// let (delivery, states) = (DeliveryInfo::new("q", "", "t.info"), States::default());
    /// let notification = Notification::new(fields, Priority::Info, &delivery, &states);
    /// let attempt = Attempt::from_notification(&notification)?;
    /// assert_eq!((attempt.0, notification.message_id()), (1, "7c5f"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(
        fields: Fields<'n>,
        priority: Priority,
        delivery: &'n DeliveryInfo,
        states: &'n States,
    ) -> Self {
        Self {
            fields,
            priority,
            delivery,
            states,
            received_at: SystemTime::now(),
            attempt: 1,
            context: OnceLock::new(),
            metadata: OnceLock::new(),
        }
    }

    pub(crate) const fn fields(&self) -> &Fields<'n> {
        &self.fields
    }

    /// The priority.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The publisher, such as `compute.host1`; `None` if it is null or missing.
    #[must_use]
    pub fn publisher_id(&self) -> Option<&str> {
        self.fields.publisher_id.as_deref()
    }

    /// The type of event, such as `instance.create.end`; `None` if it is null or missing.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.fields.event_type.as_deref()
    }

    /// The context: user, project, request.
    ///
    /// # Errors
    /// A value of the context cannot be parsed, for example because it nests deeper than 128 levels.
    pub fn context(&self) -> Result<&Context, PartError> {
        let made = self.context.get_or_init(|| {
            let mut context = Context::new();
            for (key, value) in &self.fields.context {
                let value: Value = part(format_args!("context.{key}"), value)?;
                context.insert(key.as_ref(), value);
            }
            Ok(context)
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Whether the context is not empty.
    #[must_use]
    pub const fn has_context(&self) -> bool {
        !self.fields.context.is_empty()
    }

    /// The context, deserialized into `T`.
    ///
    /// # Errors
    /// The context does not fit `T`.
    pub fn context_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PartError> {
        let entries = self.fields.context.iter().map(|(key, value)| (key.as_ref(), *value));
        let map = MapDeserializer::<_, serde_json::Error>::new(entries);
        serde_path_to_error::deserialize(map).map_err(|error| PartError::at("context", &error))
    }

    /// One value of the context as on the wire.
    #[must_use]
    pub fn context_value(&self, key: &str) -> Option<&'n RawValue> {
        self.fields.context.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// The trace that the sender put into the context; `None` without a valid one.
    #[must_use]
    pub fn trace_context(&self) -> Option<TraceContext> {
        TraceContext::of_values(|key| self.context_value(key).map(RawValue::get))
    }

    /// The payload as on the wire: any JSON value.
    #[must_use]
    pub const fn raw_payload(&self) -> &'n RawValue {
        self.fields.payload
    }

    /// One value of the payload's top level as on the wire; also `None` if the payload is not an object.
    #[must_use]
    pub fn payload_value(&self, key: &str) -> Option<&'n RawValue> {
        field(self.fields.payload, key)
    }

    /// A nested value of the payload, by the keys from the top level down.
    pub(crate) fn payload_at(&self, keys: &[String]) -> Option<&'n RawValue> {
        keys.iter().try_fold(self.fields.payload, |value, key| field(value, key))
    }

    /// The payload, deserialized into `T`.
    ///
    /// # Errors
    /// The payload does not fit `T`; the error names the field.
    pub fn payload<T: Deserialize<'n>>(&self) -> Result<T, PartError> {
        part(format_args!("payload"), self.fields.payload)
    }

    /// Message id and timestamp.
    pub fn metadata(&self) -> &Metadata {
        self.metadata.get_or_init(|| {
            Metadata::of(self.fields.message_id.as_deref(), self.fields.timestamp.as_deref())
        })
    }

    /// The id that the sender chose; empty if it is null or missing.
    #[must_use]
    pub fn message_id(&self) -> &str {
        self.fields.message_id.as_deref().unwrap_or_default()
    }

    /// The time of sending as the sender wrote it: UTC without a zone; empty if it is null or missing.
    #[must_use]
    pub fn timestamp(&self) -> &str {
        self.fields.timestamp.as_deref().unwrap_or_default()
    }

    /// When the listener received the delivery.
    #[must_use]
    pub const fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// The number of this attempt for the notification, starting at 1; see [`Attempt`](crate::Attempt).
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Sets the time of arrival and the number of the call.
    pub(crate) fn of_call(self, received_at: SystemTime, attempt: u32) -> Self {
        Self { received_at, attempt, ..self }
    }

    /// How the notification reached this listener.
    #[must_use]
    pub const fn delivery(&self) -> &'n DeliveryInfo {
        self.delivery
    }

    /// The states of the listener.
    #[must_use]
    pub const fn states(&self) -> &'n States {
        self.states
    }
}

/// Suitable for logs: shows neither context nor payload, as they may contain secrets.
impl fmt::Debug for Notification<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("priority", &self.priority)
            .field("message_id", &self.message_id())
            .field("publisher_id", &self.publisher_id())
            .field("event_type", &self.event_type())
            .field("payload_bytes", &self.fields.payload.get().len())
            .finish_non_exhaustive()
    }
}

/// A part of a notification does not fit the requested type.
///
/// The message says where, and what was expected. It does not contain strings of the notification, as
/// they may be secrets.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct PartError {
    path: String,
    message: String,
    version: bool,
}

/// Appended if a `&str` or `&[u8]` was requested for a text with escapes.
const BORROWED: &str = "; a text with escapes cannot be borrowed: take a `String`, or a `Cow<str>` with `#[serde(borrow)]`";

impl PartError {
    /// A part of another type.
    pub(crate) fn new(path: &str, mut message: String) -> Self {
        // Only a text could be a `&str` at all.
        if message.contains("invalid type: a string, expected a borrowed") {
            message.push_str(BORROWED);
        }
        Self { path: path.to_owned(), message, version: false }
    }

    /// A versioned object with a name or version that the type does not support.
    pub(crate) fn version(path: &str, message: String) -> Self {
        Self { path: path.to_owned(), message, version: true }
    }

    pub(crate) fn at(part: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let inner = error.path().to_string();
        let path = match inner.as_str() {
            "." => part.to_owned(),
            _ => format!("{part}.{inner}"),
        };
        Self::new(&path, without_values(&error.inner().to_string()))
    }

    /// Whether it is a valid versioned object that the type does not support.
    #[must_use]
    pub const fn is_unsupported_version(&self) -> bool {
        self.version
    }

    /// The message without the path.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The path of the mistake, such as `payload.flavor.vcpus`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn part<'n, T: Deserialize<'n>>(
    name: fmt::Arguments<'_>,
    raw: &'n RawValue,
) -> Result<T, PartError> {
    // Tracking the path costs time, so it is done only if there is an error.
    serde_json::from_str(raw.get()).or_else(|first: serde_json::Error| {
        let mut json = serde_json::Deserializer::from_str(raw.get());
        match serde_path_to_error::deserialize(&mut json) {
            Ok(value) => Ok(value),
            Err(error) if error.path().iter().next().is_some() => {
                Err(PartError::at(&name.to_string(), &error))
            }
            Err(_) => Err(PartError::new(&name.to_string(), without_values(&first.to_string()))),
        }
    })
}

/// The value of `key` in a JSON object; the last one counts, as in Python.
fn field<'r>(object: &'r RawValue, key: &str) -> Option<&'r RawValue> {
    struct Find<'k>(&'k str);

    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(Key(name)) = map.next_key()? {
                if name == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object.get());
    json.deserialize_map(Find(key)).ok().flatten()
}

/// An object's key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Key<'k>(#[serde(borrow)] Cow<'k, str>);

/// Removes values from a message of serde, as they may be secrets (`string "hunter2"`, ``unknown
/// variant `hunter2` ``). The kind is kept.
fn without_values(message: &str) -> String {
    let mut kept = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find("string \"") {
        let after = &rest[start + "string \"".len()..];
        let end = closing_quote(after).unwrap_or(after.len());
        kept.push_str(&rest[..start]);
        kept.push_str("a string");
        rest = after.get(end + 1..).unwrap_or_default();
    }
    kept.push_str(rest);
    let Some(found) = kept.strip_prefix("unknown variant `") else { return kept };
    // The value may contain anything: the expected type follows the last of these.
    let expected = found.rfind("`, expected ").map_or("", |at| &found[at + 1..]);
    format!("unknown variant{expected}")
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

debug_is_the_message!(PartError);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Server {
        flavor: Flavor,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Flavor {
        vcpus: u32,
    }

    fn check(payload: &str, expected: Result<Server, &str>) {
        let raw: &RawValue = serde_json::from_str(payload).expect("the test's own JSON");
        let found = part::<Server>(format_args!("payload"), raw).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_payload_that_fits_is_read() {
        check(r#"{"flavor": {"vcpus": 4}}"#, Ok(Server { flavor: Flavor { vcpus: 4 } }));
    }

    #[test]
    fn an_error_has_the_path_and_not_the_value() {
        check(
            r#"{"flavor": {"vcpus": "my \" secret"}}"#,
            Err("payload.flavor.vcpus: invalid type: a string, expected u32 at line 1 column 35"),
        );
    }

    #[test]
    fn an_unknown_variant_is_not_shown() {
        #[derive(Debug, PartialEq, Deserialize)]
        enum State {
            Active,
            Deleted,
        }
        let raw: &RawValue = serde_json::from_str(r#""hunter2`, x""#).expect("the test's own JSON");
        let error = part::<State>(format_args!("payload"), raw).expect_err("no such state");
        assert_eq!(
            error.to_string(),
            "payload: unknown variant, expected `Active` or `Deleted` at line 1 column 13"
        );
    }

    #[test]
    fn an_error_about_the_whole_payload_has_no_path_in_it() {
        check(
            "[]",
            Err(
                "payload: invalid length 0, expected struct Server with 1 element at line 1 column 2",
            ),
        );
    }
}
