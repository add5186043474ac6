//! Version 2: a JSON object of two keys that contains the notification as a JSON text, which is not read
//! here. Called by `open`, which treats a body of another form as version 1.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::envelope::error::{DecodeError, Part, not_json, redacted_json};
use crate::envelope::fields::{self, Key, Text, expect_object};
use crate::envelope::lenient::{Wanted, may_name, repair, repaired};

const VERSION: &str = "oslo.version";
pub(super) const MESSAGE: &str = "oslo.message";

/// The bytes before the escaped text, as oslo writes them.
pub(super) const BEGIN: &[u8] = br#"{"oslo.version": "2.0", "oslo.message": ""#;

/// The same without spaces, as others write JSON.
pub(super) const BEGIN_CLOSE: &[u8] = br#"{"oslo.version":"2.0","oslo.message":""#;

/// The bytes after the escaped text.
pub(super) const END: &[u8] = br#""}"#;

/// The text in the envelope, or `None` if the body is not version 2, that is, if one of the two keys is
/// missing.
pub(super) fn open(text: &str) -> Result<Option<Cow<'_, str>>, DecodeError> {
    if !may_name(text, Wanted::Message) {
        return Ok(None);
    }
    // First without repairs: the escapes of the inner text look as if nearly every body had to be repaired.
    let strict = match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => return envelope.open(),
        Err(error) => error,
    };
    match repair(text) {
        Cow::Borrowed(_) => Err(not_json(Part::Body, text, strict)),
        Cow::Owned(repaired) => {
            let envelope = serde_json::from_str::<Envelope<'_>>(&repaired);
            let text = envelope.map_err(|error| not_json(Part::Body, &repaired, error))?.open()?;
            Ok(text.map(|text| Cow::Owned(text.into_owned())))
        }
    }
}

#[derive(Default)]
struct Envelope<'t> {
    version: Option<&'t RawValue>,
    message: Option<Text<'t>>,
    /// Whether there is a key of a version 1 notification, which may have any other key.
    is_notification: bool,
}

impl<'t> Envelope<'t> {
    fn open(self) -> Result<Option<Cow<'t, str>>, DecodeError> {
        let message = match (&self.version, self.message) {
            (Some(version), Some(message)) => {
                check_version(version.get())?;
                message
            }
            (None, Some(_)) if !self.is_notification => return Err(DecodeError::NoVersion),
            _ => return Ok(None),
        };
        let text = repaired(message.string(MESSAGE, "a string")?);
        expect_object(Part::Message, &text)?;
        Ok(Some(text))
    }
}

/// Accepts the versions that the Python listener accepts: it has version 2.0 and requires the same major
/// number and no higher minor or patch number.
fn check_version(found: &str) -> Result<(), DecodeError> {
    let version = serde_json::from_str(found).ok().and_then(|text: Text<'_>| text.some());
    match version.as_deref() {
        Some("2.0" | "2.0.0") => Ok(()),
        _ => Err(DecodeError::Version { found: redacted_json(found) }),
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                VERSION => envelope.version = Some(map.next_value()?),
                MESSAGE => envelope.message = Some(map.next_value()?),
                key => {
                    envelope.is_notification |= fields::IDENTIFYING.contains(&key);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        assert_eq!(open(body).unwrap().as_deref(), expected);
    }

    #[track_caller]
    fn refused(body: &str) -> String {
        open(body).unwrap_err().to_string()
    }

    #[test]
    fn the_inner_text_is_unescaped() {
        check(
            r#"{"oslo.version": "2.0", "oslo.message": "{\"a\": \"\\u00e9\"}"}"#,
            Some(r#"{"a": "\u00e9"}"#),
        );
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        let body = r#"{"oslo.version": "2.0", "oslo.message": "{}"}"#;
        assert!(matches!(open(body), Ok(Some(Cow::Borrowed("{}")))));
    }

    #[test]
    fn order_spaces_and_other_keys_do_not_matter() {
        check(
            "{ \"x\":[1],\"oslo.message\" :\"{}\",\n\"oslo.version\":\"2.0\" , \"y\":null}",
            Some("{}"),
        );
    }

    #[test]
    fn keys_and_version_may_be_written_with_escapes() {
        check(r#"{"oslo\u002eversion": "2\u002e0", "oslo\u002emessage": "{}"}"#, Some("{}"));
    }

    #[test]
    fn a_version_with_a_third_number_is_accepted() {
        check(r#"{"oslo.version": "2.0.0", "oslo.message": "{}"}"#, Some("{}"));
    }

    #[test]
    fn a_body_without_one_of_the_keys_is_not_version_2() {
        check(r#"{"event_type": "e", "oslo.message": 1}"#, None);
        check(r#"{"oslo.version": "2.0", "payload": "oslo.message"}"#, None);
        check(r#"{"payload": {"oslo.version": "2.0", "oslo.message": "{}"}}"#, None);
    }

    #[test]
    fn a_message_without_a_version_is_refused_unless_it_is_a_key_of_version_1() {
        for key in ["oslo_version", "x"] {
            assert_eq!(
                refused(&format!(r#"{{"{key}": "2.0", "oslo.message": "{{}}"}}"#)),
                "the body has `oslo.message` and no `oslo.version` (expected \"2.0\")"
            );
        }
        for key in fields::IDENTIFYING {
            check(&format!(r#"{{"{key}": "2.0", "oslo.message": "{{}}"}}"#), None);
        }
    }

    #[test]
    fn the_last_of_a_key_counts() {
        check(
            r#"{"oslo.version": 1, "oslo.message": 1, "oslo.version": "2.0", "oslo.message": "{}"}"#,
            Some("{}"),
        );
    }

    #[test]
    fn the_error_for_another_version_has_it() {
        let check = |version, found| {
            assert_eq!(
                refused(&format!(r#"{{"oslo.version": {version}, "oslo.message": "{{}}"}}"#)),
                format!("envelope version {found} is not supported (expected \"2.0\")")
            );
        };
        for version in [r#""2.1""#, r#""2.0.1""#, r#""1.0""#, r#""""#, "2.0", "2", "null"] {
            check(version, version);
        }
        check("[2]", "a list");
        check(r#"{"secret": 1}"#, "an object");
        check(r#""{secret}""#, r#""..(8 bytes, not shown)""#);
    }

    #[test]
    fn a_message_that_is_not_a_string_is_refused() {
        for (message, found) in
            [("null", "null"), ("{}", "an object"), ("[{}]", "a list"), ("1", "a number")]
        {
            assert_eq!(
                refused(&format!(r#"{{"oslo.version": "2.0", "oslo.message": {message}}}"#)),
                format!("field \"oslo.message\" is {found} (expected a string)")
            );
        }
    }

    #[test]
    fn an_inner_text_that_is_not_an_object_is_refused() {
        for (text, error) in [
            ("", "field \"oslo.message\" is empty (expected an object)"),
            (" [1]", "field \"oslo.message\" is a list (expected an object)"),
            ("null", "field \"oslo.message\" is null (expected an object)"),
            (
                "\u{feff}{}",
                "field \"oslo.message\" begins with a byte order mark (expected an object)",
            ),
        ] {
            assert_eq!(
                refused(&format!(r#"{{"oslo.version": "2.0", "oslo.message": "{text}"}}"#)),
                error
            );
        }
    }

    #[test]
    fn pythons_json_is_repaired_in_the_inner_text() {
        check(
            r#"{"oslo.version": "2.0", "oslo.message": "{\"a\": [NaN, \"\\ud800 NaN\"]}"}"#,
            Some(r#"{"a": [null, "\ufffd NaN"]}"#),
        );
    }

    #[test]
    fn pythons_json_is_repaired_in_the_envelope() {
        check(
            r#"{"x": NaN, "oslo.version": "2.0", "oslo.message": "{\"a\": \"\ud800\"}"}"#,
            Some("{\"a\": \"\u{fffd}\"}"),
        );
    }

    #[test]
    fn an_envelope_that_is_not_json_is_refused() {
        assert_eq!(
            refused(r#"{"oslo.version": "2.0", "oslo.message": "{}", }"#),
            "body is not valid json near byte 46"
        );
    }
}
