//! Finds the fields in the JSON text of a notification, borrowed where possible. Payload and context values
//! stay text and are parsed on demand. `v1.rs` and `v2.rs` get the text from a body. The runtime calls this
//! for each delivery.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::envelope::context_keys::{PREFIX, USUAL, last_of_each};
use crate::envelope::error::{DecodeError, Kind, Part, not_json};
use crate::notification::fields::Fields;

/// The keys that identify an object as a notification: one of them is enough.
pub(super) const IDENTIFYING: [&str; 3] = ["event_type", "payload", "priority"];

/// Finds the fields in an opened text.
///
/// # Errors
/// The text is not a JSON object.
///
/// ```
/// let text = r#"{"event_type": "volume.delete.end", "payload": {"id": 1}, "_context_user_id": "u1"}"#;
/// let fields = listener::envelope::read(text)?;
/// assert_eq!(fields.event_type.as_deref(), Some("volume.delete.end"));
/// assert_eq!(fields.payload.get(), r#"{"id": 1}"#);
/// assert_eq!(fields.context[0].0, "user_id");
/// # Ok::<(), listener::envelope::DecodeError>(())
/// ```
pub fn read(text: &str) -> Result<Fields<'_>, DecodeError> {
    expect_object(Part::Notification, text)?;
    let found: Found<'_> =
        serde_json::from_str(text).map_err(|error| not_json(Part::Notification, text, error))?;
    Ok(Fields {
        message_id: id(found.message_id)?,
        timestamp: string(found.timestamp)?,
        publisher_id: string(found.publisher_id)?,
        event_type: string(found.event_type)?,
        priority: string(found.priority)?,
        unique_id: string(found.unique_id)?,
        payload: found.payload.unwrap_or(RawValue::NULL),
        context: last_of_each(found.context),
    })
}

/// A string, or the text of a number. Any other value is not an id: an inbox would mistake all messages with
/// the same value for duplicates.
fn id(found: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, DecodeError> {
    let kind = found.and_then(|found| found.get().bytes().next()).and_then(Kind::of);
    string(found.filter(|_| matches!(kind, Some(Kind::String | Kind::Number))))
}

/// The text of a string, `None` for null, and the JSON text of any other value: not all senders write ids,
/// times and names as strings, and nothing here depends on it.
fn string(found: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, DecodeError> {
    let Some(text) = found.map(RawValue::get) else { return Ok(None) };
    match text.bytes().next().and_then(Kind::of) {
        Some(Kind::Null) => Ok(None),
        // The parser has checked the text: without escapes it is the string itself.
        Some(Kind::String) if memchr::memchr(b'\\', text.as_bytes()).is_none() => {
            Ok(text.get(1..text.len() - 1).map(Cow::Borrowed))
        }
        Some(Kind::String) => match serde_json::from_str(text) {
            Ok(Key(string)) => Ok(Some(string)),
            Err(error) => Err(not_json(Part::Notification, text, error)),
        },
        _ => Ok(Some(Cow::Borrowed(text))),
    }
}

/// Checks only the first character, so that common mistakes get a clear error. The parser checks the rest.
pub(super) fn expect_object(part: Part, text: &str) -> Result<(), DecodeError> {
    if text.starts_with('\u{feff}') {
        return Err(DecodeError::ByteOrderMark { part });
    }
    match text.bytes().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        None => Err(DecodeError::Empty { part }),
        Some(first) => match Kind::of(first) {
            // What has no kind is not JSON; the parser reports it with the position.
            None | Some(Kind::Object) => Ok(()),
            Some(found) => Err(DecodeError::NotAnObject { part, found }),
        },
    }
}

/// The raw values of the text. They are checked at the end, as a later value of the same key replaces a
/// wrong one.
#[derive(Default)]
struct Found<'t> {
    message_id: Option<&'t RawValue>,
    timestamp: Option<&'t RawValue>,
    publisher_id: Option<&'t RawValue>,
    event_type: Option<&'t RawValue>,
    priority: Option<&'t RawValue>,
    unique_id: Option<&'t RawValue>,
    payload: Option<&'t RawValue>,
    context: Vec<(Cow<'t, str>, &'t RawValue)>,
}

impl<'de> Deserialize<'de> for Found<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FoundVisitor)
    }
}

struct FoundVisitor;

impl<'de> Visitor<'de> for FoundVisitor {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "message_id" => found.message_id = Some(map.next_value()?),
                "timestamp" => found.timestamp = Some(map.next_value()?),
                "publisher_id" => found.publisher_id = Some(map.next_value()?),
                "event_type" => found.event_type = Some(map.next_value()?),
                "priority" => found.priority = Some(map.next_value()?),
                "_unique_id" => found.unique_id = Some(map.next_value()?),
                "payload" => found.payload = Some(map.next_value()?),
                key_text if key_text.starts_with(PREFIX) => {
                    if found.context.is_empty() {
                        found.context = Vec::with_capacity(USUAL);
                    }
                    found.context.push((without_prefix(key), map.next_value()?));
                }
                // `_msg_id`, `_reply_q` and `_timeout` belong to calls, not to notifications.
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

fn without_prefix(key: Cow<'_, str>) -> Cow<'_, str> {
    match key {
        Cow::Borrowed(key) => Cow::Borrowed(&key[PREFIX.len()..]),
        Cow::Owned(key) => Cow::Owned(key[PREFIX.len()..].to_owned()),
    }
}

/// A key, borrowed unless it has escapes. (Serde's own `Cow` never borrows.)
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Key<'t>(pub(super) Cow<'t, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Text::deserialize(deserializer)? {
            Text::String(key) => Ok(Self(key)),
            Text::Other(kind) => Err(D::Error::custom(format_args!("key is {kind}"))),
        }
    }
}

/// A string, borrowed unless it has escapes, or the kind of another value.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Text<'t> {
    String(Cow<'t, str>),
    Other(Kind),
}

impl<'t> Text<'t> {
    pub(super) fn some(self) -> Option<Cow<'t, str>> {
        match self {
            Self::String(text) => Some(text),
            Self::Other(_) => None,
        }
    }

    pub(super) fn string(
        self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Cow<'t, str>, DecodeError> {
        match self {
            Self::String(text) => Ok(text),
            Self::Other(found) => Err(DecodeError::Field { key, expected, found }),
        }
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text::String(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Text<'de>, E> {
        Ok(Text::String(Cow::Owned(text)))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text::Other(Kind::Null))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
        Ok(Text::Other(Kind::Boolean))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
        Ok(Text::Other(Kind::Number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
        Ok(Text::Other(Kind::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
        Ok(Text::Other(Kind::Number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::Other(Kind::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Text<'de>, A::Error> {
        let mut kind = Kind::Object;
        while let Some(Key(key)) = items.next_key()? {
            // The form of numbers in serde_json if a crate of the program enables its feature
            // `arbitrary_precision`.
            if key == "$serde_json::private::Number" {
                kind = Kind::Number;
            }
            items.next_value::<IgnoredAny>()?;
        }
        Ok(Text::Other(kind))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    type Strings<'t> = [Option<&'t str>; 6];

    /// Expects these strings, in the order of [`Fields`], this payload and this context.
    #[track_caller]
    fn check(text: &str, strings: Strings<'_>, payload: &str, context: &[(&str, &str)]) {
        let fields = read(text).unwrap();
        let found = [
            &fields.message_id,
            &fields.timestamp,
            &fields.publisher_id,
            &fields.event_type,
            &fields.priority,
            &fields.unique_id,
        ];
        let found_context = fields.context.iter().map(|(key, value)| (&**key, value.get()));
        assert_eq!(
            (found.map(Option::as_deref), fields.payload.get(), found_context.collect()),
            (strings, payload, context.to_vec())
        );
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    const GOLDEN: [&str; 6] = [
        include_str!("golden/v1.json"),
        include_str!("golden/v1-list.json"),
        include_str!("golden/v1-text.json"),
        include_str!("golden/v1-null.json"),
        include_str!("golden/v1-tagged.json"),
        r#"{"event_type": "e", "payload": {"a": [{}, [], [[1.5e-3, -0]], {"b": ""}], "\"": "\\\\\""}, "_context_a": 1, "_context_a": [true]}"#,
    ];

    const STRINGS: [&str; 6] =
        ["message_id", "timestamp", "publisher_id", "event_type", "priority", "_unique_id"];

    /// Expects the fields of the text to be those that serde finds in a map of raw values, or an error if
    /// there is no such map. Returns whether there were fields.
    #[track_caller]
    fn agrees(text: &str) -> bool {
        let Ok(map) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
            assert!(read(text).is_err(), "{text:?}");
            return false;
        };
        let Ok(fields) = read(text) else {
            // A string is only checked for lone surrogates when it is unescaped.
            let is_invalid = |key: &&str| {
                let value = map.get(*key).filter(|value| value.get().starts_with('"'));
                value.is_some_and(|value| serde_json::from_str::<String>(value.get()).is_err())
            };
            assert!(STRINGS.iter().any(is_invalid), "{text:?}");
            return false;
        };
        let payload = map.get("payload").map_or("null", |payload| payload.get());
        assert_eq!(fields.payload.get(), payload, "{text:?}");
        let context = fields.context.iter().map(|(key, value)| (key.to_string(), value.get()));
        let expected = map
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.get())));
        assert_eq!(
            context.collect::<BTreeMap<_, _>>(),
            expected.collect::<BTreeMap<_, _>>(),
            "{text:?}"
        );
        for (key, found) in [
            ("timestamp", &fields.timestamp),
            ("publisher_id", &fields.publisher_id),
            ("event_type", &fields.event_type),
            ("priority", &fields.priority),
            ("_unique_id", &fields.unique_id),
        ] {
            assert_eq!(found.as_deref(), text_of(map.get(key)).as_deref(), "{key} of {text:?}");
        }
        let id = map.get("message_id").filter(|id| {
            id.get().starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9'))
        });
        assert_eq!(fields.message_id.as_deref(), text_of(id).as_deref(), "{text:?}");
        true
    }

    /// A string without its quotation marks and escapes, nothing for null, and the text of any other value.
    fn text_of(value: Option<&&RawValue>) -> Option<String> {
        let text = value?.get();
        match serde_json::from_str(text) {
            Ok(Value::Null) => None,
            Ok(Value::String(string)) => Some(string),
            _ => Some(text.to_owned()),
        }
    }

    #[test]
    fn texts_of_python_are_read() {
        for text in GOLDEN {
            assert!(agrees(text), "{text}");
        }
        assert!(agrees(" { } "));
    }

    #[test]
    fn mutated_texts_are_read_as_serde_reads_them() {
        let tokens = [
            "\"",
            "\\",
            "\\\\",
            "\\\"",
            "\\u00e9",
            "\\ud800",
            "\\ux",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "\t",
            "0",
            "01",
            "1.",
            "1e",
            "1e+5",
            "-",
            "-1",
            "null",
            "nul",
            "true",
            "false",
            "NaN",
            "é",
            "\0",
            "\u{7f}",
            ", \"priority\": null",
            "\"_context_a\": {}, ",
            "\"payload\": ",
            "[[[[",
        ];
        let mut rng = fastrand::Rng::with_seed(7);
        let mut read = 0;
        for _ in 0..40_000 {
            let mut text = GOLDEN[rng.usize(..GOLDEN.len())].as_bytes().to_vec();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..text.len());
                let token = tokens[rng.usize(..tokens.len())].bytes();
                match rng.u8(..5) {
                    0 => text[at] ^= 1 << rng.u8(..8),
                    1 => drop(text.remove(at)),
                    2 => drop(text.splice(at..at + 1, token)),
                    3 => drop(text.splice(at..at, token)),
                    _ => text.swap(at, rng.usize(..=at)),
                }
            }
            if let Ok(text) = str::from_utf8(&text) {
                read += usize::from(agrees(text));
            }
        }
        assert!((8_000..36_000).contains(&read), "{read}");
    }

    #[test]
    fn random_values_are_read_as_serde_reads_them() {
        let tokens = [
            "\"\"",
            "\"a\"",
            "\"a\": ",
            "{",
            "}",
            "[",
            "]",
            ", ",
            ",",
            ":",
            " ",
            "0",
            "-",
            "1",
            ".5",
            "e1",
            "E-2",
            "null",
            "true",
            "false",
            "\"\\n\"",
            "\"\\u12aF\"",
            "x",
            "{\"a\": ",
            "[1, ",
            "1}",
            "2]",
        ];
        let mut rng = fastrand::Rng::with_seed(7);
        let mut read = 0;
        for _ in 0..60_000 {
            let mut value = String::new();
            for _ in 0..rng.usize(1..6) {
                value.push_str(tokens[rng.usize(..tokens.len())]);
            }
            read += usize::from(agrees(&format!("{{\"payload\": {value}}}")));
            agrees(&format!("{{\"x\": {value}, \"priority\": {value}}}"));
        }
        assert!(read > 2_000, "{read}");
    }

    #[test]
    fn nesting_may_be_deep() {
        for depth in 1..200 {
            let payload = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let text = format!("{{\"payload\": {payload}}}");
            assert_eq!(read(&text).unwrap().payload.get(), payload);
        }
    }

    #[test]
    fn every_field_is_found() {
        check(
            concat!(
                r#"{"message_id": "m", "publisher_id": "p", "event_type": "e", "priority": "INFO", "#,
                r#""payload": {"a": 1.50}, "timestamp": "t", "_unique_id": "u", "#,
                r#""_context_b": [1], "_context_a": null}"#
            ),
            [Some("m"), Some("t"), Some("p"), Some("e"), Some("INFO"), Some("u")],
            r#"{"a": 1.50}"#,
            &[("b", "[1]"), ("a", "null")],
        );
    }

    #[test]
    fn missing_fields_are_none() {
        check("{}", [None; 6], "null", &[]);
    }

    #[test]
    fn null_fields_are_none() {
        check(
            concat!(
                r#"{"message_id": null, "publisher_id": null, "event_type": null, "#,
                r#""priority": null, "payload": null, "timestamp": null, "_unique_id": null}"#
            ),
            [None; 6],
            "null",
            &[],
        );
    }

    #[test]
    fn other_keys_are_dropped() {
        check(
            r#"{"_msg_id": "m", "_reply_q": [], "_timeout": 1, "x": {}, "context_a": 1, "_context": 1}"#,
            [None; 6],
            "null",
            &[],
        );
    }

    #[test]
    fn the_last_of_a_key_counts() {
        check(
            r#"{"payload": 1, "priority": 5, "payload": 2, "priority": "INFO"}"#,
            [None, None, None, None, Some("INFO"), None],
            "2",
            &[],
        );
    }

    #[test]
    fn the_last_of_a_context_key_counts_at_its_first_position() {
        check(
            r#"{"_context_a": 1, "_context_b": 2, "_context_\u0061": 3}"#,
            [None; 6],
            "null",
            &[("a", "3"), ("b", "2")],
        );
    }

    #[test]
    fn a_large_context_has_each_key_once() {
        let items = (0..20_000).map(|n| format!(r#""_context_{}": {n}"#, n % 10_000));
        let text = format!("{{{}}}", items.collect::<Vec<_>>().join(","));
        let fields = read(&text).unwrap();
        let found: Vec<_> =
            fields.context.iter().map(|(key, value)| format!("{key}={}", value.get())).collect();
        let expected: Vec<_> = (0..10_000).map(|n| format!("{n}={}", n + 10_000)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_and_strings_may_be_written_with_escapes() {
        check(
            r#"{"event\u005ftype": "\u00e9\n", "_context\u005f\u00e9": 1, "_context_": 2}"#,
            [None, None, None, Some("é\n"), None, None],
            "null",
            &[("é", "1"), ("", "2")],
        );
    }

    #[test]
    fn nothing_without_escapes_is_copied() {
        let fields = read(r#"{"event_type": "e", "_context_a": 1}"#).unwrap();
        assert!(matches!(fields.event_type, Some(Cow::Borrowed("e"))));
        assert!(matches!(fields.context[0].0, Cow::Borrowed("a")));
    }

    #[test]
    fn numbers_stay_as_written() {
        let text = r#"{"payload": [184467440737095516160000, 1e400, -0, 1.50]}"#;
        check(text, [None; 6], "[184467440737095516160000, 1e400, -0, 1.50]", &[]);
    }

    #[test]
    fn another_kind_in_place_of_a_string_is_read_as_its_json_text() {
        for value in [
            "5",
            "-5",
            "184467440737095516160000",
            "1700000000.25",
            "1e400",
            "true",
            "false",
            r#"["INFO", [1]]"#,
            r#"{"$date": {"a": 1}}"#,
            "{}",
        ] {
            let keys =
                ["message_id", "timestamp", "publisher_id", "event_type", "priority", "_unique_id"];
            for (at, key) in keys.into_iter().enumerate() {
                let mut strings = [None; 6];
                // Only a text or a number names a message.
                let is_number = value.parse::<f64>().is_ok();
                strings[at] = (key != "message_id" || is_number).then_some(value);
                check(&format!(r#"{{"{key}": {value}, "payload": 1}}"#), strings, "1", &[]);
            }
        }
    }

    #[test]
    fn a_text_that_is_not_an_object_is_refused() {
        for (text, error) in [
            ("", "notification is empty (expected an object)"),
            (" \n", "notification is empty (expected an object)"),
            ("[]", "notification is a list (expected an object)"),
            ("\"{}\"", "notification is a string (expected an object)"),
            ("5", "notification is a number (expected an object)"),
            ("true", "notification is a boolean (expected an object)"),
            ("null", "notification is null (expected an object)"),
        ] {
            assert_eq!(refused(text), error);
        }
    }

    #[test]
    fn invalid_json_is_refused_with_its_position() {
        for (text, at) in [
            ("hello", 0),
            ("{\"a\": x}", 6),
            ("{\"a\": 1", 7),
            ("{\"a\": 1} x", 9),
            ("{\"payload\": [1,]}", 15),
            ("{\"payload\": \"a\nb\"}", 13),
        ] {
            assert_eq!(refused(text), format!("notification is not valid json near byte {at}"));
        }
    }

    #[test]
    fn the_reason_is_the_source() {
        let error = read("{\"payload\": [1,]}").unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("expected value at line 1 column 16"));
    }

    #[test]
    fn deep_nesting_passes_as_text() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let text = format!(
            r#"{{"payload": {deep}, "x": {deep}, "priority": {deep}, "priority": null, "_context_a": {deep}}}"#
        );
        check(&text, [None; 6], &deep, &[("a", &deep)]);
    }

    #[test]
    fn deep_nesting_that_never_closes_is_refused() {
        let text = format!("{{\"priority\": {}", "[".repeat(100_000));
        assert_eq!(refused(&text), "notification is not valid json near byte 100013");
    }

    #[test]
    fn debug_shows_no_payload_and_no_context_values() {
        let text = r#"{"payload": "secret", "_context_auth_token": "secret", "event_type": "e"}"#;
        assert_eq!(
            format!("{:?}", read(text).unwrap()),
            "Fields { message_id: None, timestamp: None, publisher_id: None, \
             event_type: Some(\"e\"), priority: None, unique_id: None, payload.len(): 8, \
             context: [\"auth_token\"] }"
        );
    }
}
