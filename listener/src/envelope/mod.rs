//! The envelope: decodes the bytes of a delivery to the fields of a notification, and encodes them.
//! [`open`] removes compression and envelope, [`read`] finds the fields, [`encode`] writes the bytes that
//! the Python notifier would write. `notification` interprets the fields (priorities, contexts); payloads
//! are deserialized on demand.
#![doc = ""]
#![doc = include_str!("wire.md")]

mod compression;
mod context_keys;
mod decompress;
mod error;
mod fields;
mod kombu;
mod lenient;
mod limits;
mod opened;
mod unescape;
mod v1;
mod v2;
mod wrapper;
mod write;

use std::borrow::Cow;

pub use self::compression::{Compression, UnknownCompression};
pub(crate) use self::error::NOT_A_NOTIFICATION;
pub use self::error::{DecodeError, EncodeError, Kind, Part};
pub use self::fields::read;
pub use self::limits::{Labels, Limits};
pub use self::opened::{EnvelopeVersion, Opened};
pub use self::write::{Message, encode};
pub use crate::notification::fields::Fields;
use crate::redact::redacted;

/// Removes compression, the version 2 envelope, and Python's extensions of JSON.
///
/// A plain version 1 body is borrowed, a version 2 body is copied once, unescaped. The text is not
/// validated to its end: [`read`] reports invalid JSON.
///
/// # Errors
/// The labels are unknown, the body is too large, is not UTF-8 or not an object, or its envelope is
/// invalid. All these errors are permanent.
///
/// ```
/// use listener::envelope::{Labels, Limits, EnvelopeVersion, open};
///
/// let body = br#"{"oslo.version": "2.0", "oslo.message": "{\"payload\": [NaN]}"}"#;
/// let labels = Labels { content_type: Some("application/json"), compression: None };
/// let opened = open(body, labels, &Limits::default())?;
/// assert_eq!(opened.version, EnvelopeVersion::V2);
/// assert_eq!(opened.text, r#"{"payload": [null]}"#);
/// # Ok::<(), listener::envelope::DecodeError>(())
/// ```
pub fn open<'b>(
    body: &'b [u8],
    labels: Labels<'_>,
    limits: &Limits,
) -> Result<Opened<'b>, DecodeError> {
    open_with(&mut Vec::new(), body, labels, limits)
}

/// As [`open`]; the buffer is taken for a text that has to be copied. Its content has no effect.
pub(crate) fn open_with<'b>(
    buffer: &mut Vec<u8>,
    body: &'b [u8],
    labels: Labels<'_>,
    limits: &Limits,
) -> Result<Opened<'b>, DecodeError> {
    check_content_type(labels.content_type)?;
    match labels.compression.filter(|name| !name.is_empty()) {
        None if body.len() > limits.max_body => {
            Err(DecodeError::TooLarge { found: body.len(), limit: limits.max_body })
        }
        None => open_plain(buffer, body, limits),
        Some(name) => {
            let limit = limits.max_decompressed.min(limits.max_body);
            let body = decompress::decompress(name.parse()?, body, limit)?;
            let Opened { text, version } = open_plain(buffer, &body, limits)?;
            Ok(Opened { text: Cow::Owned(text.into_owned()), version })
        }
    }
}

/// Parameters are ignored: JSON is always UTF-8.
fn check_content_type(label: Option<&str>) -> Result<(), DecodeError> {
    let label = label.unwrap_or_default();
    let name = label.split(';').next().unwrap_or_default().trim();
    if label.is_empty() || is_json(name) {
        return Ok(());
    }
    Err(DecodeError::ContentType { found: redacted(label) })
}

/// `application/json`, its older name, and the JSON types of RFC 6839, such as
/// `application/cloudevents+json`.
fn is_json(name: &str) -> bool {
    let suffix = name.len().checked_sub("+json".len()).and_then(|at| name.get(at..));
    name.eq_ignore_ascii_case("application/json")
        || name.eq_ignore_ascii_case("text/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

fn open_plain<'b>(
    buffer: &mut Vec<u8>,
    body: &'b [u8],
    limits: &Limits,
) -> Result<Opened<'b>, DecodeError> {
    if let Some(text) = unescape::open(body, buffer) {
        return Ok(Opened {
            text: lenient::repaired(Cow::Owned(text)),
            version: EnvelopeVersion::V2,
        });
    }
    let text =
        str::from_utf8(body).map_err(|error| DecodeError::Utf8 { at: error.valid_up_to() })?;
    fields::expect_object(Part::Body, text)?;
    if let Some(opened) = wrapper::open(text, limits)? {
        return Ok(opened);
    }
    match v2::open(text)? {
        Some(text) => Ok(Opened { text, version: EnvelopeVersion::V2 }),
        None => Ok(Opened { text: v1::open(text, limits)?, version: EnvelopeVersion::V1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Labels<'_> = Labels { content_type: Some("application/json"), compression: None };

    fn text(body: &[u8]) -> (EnvelopeVersion, String) {
        let opened = open(body, JSON, &Limits::default()).unwrap();
        (opened.version, opened.text.into_owned())
    }

    #[track_caller]
    fn refused(body: &[u8], labels: Labels<'_>) -> String {
        open(body, labels, &Limits::default()).unwrap_err().to_string()
    }

    #[track_caller]
    fn accepted(labels: Labels<'_>) {
        let opened = open(b"{}", labels, &Limits::default()).unwrap();
        assert_eq!(opened, Opened { text: Cow::Borrowed("{}"), version: EnvelopeVersion::V1 });
    }

    #[test]
    fn version_1_is_borrowed_unchanged() {
        let body = include_bytes!("golden/v1.json");
        let opened = open(body, JSON, &Limits::default()).unwrap();
        assert_eq!(opened.version, EnvelopeVersion::V1);
        assert!(matches!(opened.text, Cow::Borrowed(text) if text.as_bytes() == body));
    }

    #[test]
    fn both_versions_contain_the_same_text() {
        for (v1, v2) in [
            (&include_bytes!("golden/v1.json")[..], &include_bytes!("golden/v2.json")[..]),
            (include_bytes!("golden/v1-list.json"), include_bytes!("golden/v2-list.json")),
            (include_bytes!("golden/v1-text.json"), include_bytes!("golden/v2-text.json")),
            (include_bytes!("golden/v1-null.json"), include_bytes!("golden/v2-null.json")),
            (include_bytes!("golden/v1-special.json"), include_bytes!("golden/v2-special.json")),
        ] {
            let (first, second) = (text(v1), text(v2));
            assert_eq!((first.0, second.0), (EnvelopeVersion::V1, EnvelopeVersion::V2));
            assert_eq!(first.1, second.1);
        }
    }

    #[test]
    fn extensions_of_python_are_repaired() {
        let (_, text) = text(include_bytes!("golden/v2-special.json"));
        let fields = read(&text).unwrap();
        assert_eq!(
            fields.payload.get(),
            concat!(
                r#"{"big": [123456789012345678901234567890, "#,
                r#"-170141183460469231731687303715884105728], "#,
                r#""half": ["\ufffd", "x\ufffd", "\ud83d\ude00"], "inf": [null, null], "#,
                r#""nan": null, "text": "NaN \\ud800 -Infinity"}"#
            )
        );
        let context: Vec<_> = fields.context.iter().map(|(k, v)| (&**k, v.get())).collect();
        assert_eq!(context, [("limit", "null"), ("name", r#""\ufffd""#)]);
    }

    #[test]
    fn large_integers_are_exact() {
        let (_, text) = text(br#"{"payload": [340282366920938463463374607431768211455]}"#);
        let payload = read(&text).unwrap().payload;
        assert_eq!(serde_json::from_str::<[u128; 1]>(payload.get()).unwrap(), [u128::MAX]);
    }

    #[test]
    fn every_tagged_value_of_python_becomes_plain() {
        let (version, text) = text(include_bytes!("golden/v1-tagged.json"));
        let fields = read(&text).unwrap();
        assert_eq!(version, EnvelopeVersion::V1);
        assert_eq!(
            fields.payload.get(),
            concat!(
                r#"{"base64": "//79", "bytes": "\u00e9", "date": "2026-05-09", "#,
                r#""datetime": "2026-05-09T01:02:03.000004", "decimal": "1.10", "#,
                r#""deep": [{"at": ["2026-05-09T01:02:03+00:00"]}], "number": 1.5, "#,
                r#""time": "01:02:03", "uuid": "7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d"}"#
            )
        );
        let context: Vec<_> = fields.context.iter().map(|(k, v)| (&**k, v.get())).collect();
        assert_eq!(
            context,
            [
                ("at", r#""2026-05-09T01:02:03.000004""#),
                ("id", r#""7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d""#)
            ]
        );
    }

    #[test]
    fn repaired_text_may_have_tags_too() {
        let body = br#"{"payload": [NaN, {"__type__": "date", "__value__": "2026-05-09"}]}"#;
        assert_eq!(
            text(body),
            (EnvelopeVersion::V1, r#"{"payload": [null, "2026-05-09"]}"#.to_owned())
        );
    }

    #[test]
    fn tagged_values_in_version_2_are_unchanged() {
        let message = r#"{"payload": {"__type__": "set", "__value__": []}}"#;
        let message_text = serde_json::to_string(message).unwrap();
        let body = format!(r#"{{"oslo.version": "2.0", "oslo.message": {message_text}}}"#);
        assert_eq!(text(body.as_bytes()), (EnvelopeVersion::V2, message.to_owned()));
    }

    #[test]
    fn a_compressed_body_is_opened() {
        let expected = text(include_bytes!("golden/v1.json"));
        for (body, compression) in [
            (&include_bytes!("golden/v1.json.zlib")[..], "application/x-gzip"),
            (&include_bytes!("golden/v1.json.bz2")[..], "application/x-bz2"),
        ] {
            let labels = Labels { compression: Some(compression), ..JSON };
            let opened = open(body, labels, &Limits::default()).unwrap();
            assert_eq!((opened.version, opened.text.into_owned()), expected);
        }
    }

    #[test]
    fn an_unknown_compression_is_refused() {
        assert_eq!(
            refused(b"{}", Labels { compression: Some("application/x-brotli"), ..JSON }),
            "compression \"application/x-brotli\" is not supported \
             (expected \"application/x-gzip\" or \"application/x-bz2\")"
        );
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let limits = Limits { max_body: 3, ..Limits::default() };
        assert_eq!(
            open(b"{  }", JSON, &limits).unwrap_err().to_string(),
            "body has 4 bytes or more (expected at most 3)"
        );
    }

    #[test]
    fn a_compressed_body_has_a_limit_of_its_own() {
        let body = Compression::Zlib.compress(b"{      }");
        let labels = Labels { compression: Some("gzip"), ..JSON };
        for (max_body, max_decompressed, fits) in [(8, 8, true), (8, 7, false), (7, 8, false)] {
            let limits = Limits { max_body, max_decompressed, ..Limits::default() };
            assert_eq!(open(&body, labels, &limits).is_ok(), fits, "{limits:?}");
        }
        assert!(
            open(b"{      }", JSON, &Limits { max_decompressed: 1, ..Limits::default() }).is_ok()
        );
    }

    #[test]
    fn a_content_type_may_have_parameters() {
        accepted(Labels { content_type: Some("Application/JSON ; charset=utf-8"), ..JSON });
    }

    #[test]
    fn other_names_of_json_are_accepted() {
        for name in [
            "text/json",
            "application/cloudevents+json",
            "application/vnd.masstransit+JSON; charset=utf-8",
        ] {
            accepted(Labels { content_type: Some(name), ..JSON });
        }
        for name in ["text/plain", "application/octet-stream", "+", "json", "application/jsonp"] {
            assert!(
                open(b"{}", Labels { content_type: Some(name), ..JSON }, &Limits::default())
                    .is_err()
            );
        }
    }

    #[test]
    fn labels_may_be_missing_or_empty() {
        accepted(Labels::default());
        accepted(Labels { content_type: Some(""), compression: Some("") });
    }

    #[test]
    fn the_error_for_another_content_type_has_its_name() {
        assert_eq!(
            refused(b"{}", Labels { content_type: Some("text/plain; x=y"), ..JSON }),
            "content type \"text/plain; x=y\" is not supported (expected \"application/json\")"
        );
    }

    #[test]
    fn a_body_that_is_not_an_object_is_refused() {
        for (body, error) in [
            (&b""[..], "body is empty (expected an object)"),
            (b" \r\n\t", "body is empty (expected an object)"),
            (b"[]", "body is a list (expected an object)"),
            (b"\"x\"", "body is a string (expected an object)"),
            (b"5", "body is a number (expected an object)"),
            (b"NaN", "body is a number (expected an object)"),
            (b"null", "body is null (expected an object)"),
            (b"\xef\xbb\xbf{}", "body begins with a byte order mark (expected an object)"),
            (b"{\"a\": \"\xff\"}", "body is not utf-8 at byte 7"),
        ] {
            assert_eq!(refused(body, JSON), error);
        }
    }

    #[test]
    fn sixty_levels_are_read() {
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let (_, text) = text(format!("{{\"payload\": {deep}}}").as_bytes());
        let payload = read(&text).unwrap().payload.get().to_owned();
        assert_eq!(payload, deep);
        assert!(serde_json::from_str::<serde_json::Value>(&payload).is_ok());
    }

    #[test]
    fn a_hundred_thousand_levels_do_no_harm() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let v1 = format!(r#"{{"payload": [NaN, "\ud800", {deep}]}}"#);
        let message = serde_json::to_string(&v1).unwrap();
        let v2 = format!(
            r#"{{"x": {deep}, "oslo.version": {deep}, "oslo.version": "2.0", "oslo.message": {message}}}"#
        );
        let (first, second) = (text(v1.as_bytes()), text(v2.as_bytes()));
        assert_eq!(first.1, second.1);
        assert_eq!(read(&first.1).unwrap().payload.get(), format!(r#"[null, "\ufffd", {deep}]"#));
    }

    #[test]
    fn debug_shows_no_text() {
        let opened = open(b"{\"payload\": \"secret\"}", JSON, &Limits::default()).unwrap();
        assert_eq!(format!("{opened:?}"), "Opened { text.len(): 21, version: V1 }");
    }
}
