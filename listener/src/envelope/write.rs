//! Encodes a notification to the bytes that the Python notifier writes: its order of keys, spaces, escapes
//! and floats. Compression and message properties are not here. Called by the notifier.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use crate::envelope::context_keys::PREFIX;
use crate::envelope::error::EncodeError;
use crate::envelope::opened::EnvelopeVersion;
use crate::envelope::v2;
use crate::notification::context::Context;
use crate::notification::priority::Priority;

/// A notification to be written. The caller chooses the ids and the time.
#[derive(Clone, Copy)]
pub struct Message<'m, P: ?Sized> {
    /// The id of the notification, the same for all topics that it is sent to.
    pub message_id: &'m str,
    /// The publisher, such as `compute.host1`; `None` is written as null.
    pub publisher_id: Option<&'m str>,
    /// The type of event, such as `compute.instance.create.end`.
    pub event_type: &'m str,
    /// The priority.
    pub priority: Priority,
    /// The payload, any value that JSON can represent.
    pub payload: &'m P,
    /// The time of sending: UTC without a zone, such as `2026-05-09 07:29:33.123456`.
    pub timestamp: &'m str,
    /// The id of this body, for detecting duplicates.
    pub unique_id: &'m str,
    /// The context. Its keys are written with the prefix `_context_`.
    pub context: &'m Context,
}

/// Writes a body, not compressed.
///
/// Floats that are not finite become null, as with `serde_json`. A [`RawValue`](serde_json::value::RawValue)
/// in the payload is written unchanged, with its own spaces and characters.
///
/// # Errors
/// The payload's `Serialize` fails, or a map in it has keys that JSON cannot have.
///
/// ```
/// use listener::envelope::{Message, EnvelopeVersion, encode};
/// use listener::Context;
/// use listener::Priority;
///
/// let body = encode(
///     EnvelopeVersion::V1,
///     &Message {
///         message_id: "7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d",
///         publisher_id: Some("compute.host1"),
///         event_type: "compute.instance.create.end",
///         priority: Priority::Info,
///         payload: &[1, 2],
///         timestamp: "2026-05-09 07:29:33.123456",
///         unique_id: "0123456789abcdef0123456789abcdef",
///         context: &Context::new().with("user_id", "u1"),
///     },
/// )?;
/// assert_eq!(
///     String::from_utf8_lossy(&body),
///     concat!(
///         r#"{"message_id": "7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d", "#,
///         r#""publisher_id": "compute.host1", "event_type": "compute.instance.create.end", "#,
///         r#""priority": "INFO", "payload": [1, 2], "timestamp": "2026-05-09 07:29:33.123456", "#,
///         r#""_unique_id": "0123456789abcdef0123456789abcdef", "_context_user_id": "u1"}"#,
///     )
/// );
/// # Ok::<(), listener::envelope::EncodeError>(())
/// ```
pub fn encode<P: Serialize + ?Sized>(
    version: EnvelopeVersion,
    message: &Message<'_, P>,
) -> Result<Vec<u8>, EncodeError> {
    let body = match version {
        EnvelopeVersion::V1 => to_vec::<false>(Vec::with_capacity(USUAL), message),
        // The inner text is written directly to its position, escaped once more.
        EnvelopeVersion::V2 => {
            let mut body = Vec::with_capacity(2 * USUAL);
            body.extend_from_slice(v2::BEGIN);
            to_vec::<true>(body, message).map(|mut body| {
                body.extend_from_slice(v2::END);
                body
            })
        }
    };
    body.map_err(EncodeError::Payload)
}

/// The capacity that is enough for most bodies of version 1.
const USUAL: usize = 1024;

fn to_vec<const WITHIN: bool>(
    mut body: Vec<u8>,
    value: &(impl Serialize + ?Sized),
) -> Result<Vec<u8>, serde_json::Error> {
    let python = Python::<WITHIN>;
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut body, python))?;
    Ok(body)
}

impl<P: Serialize + ?Sized> Serialize for Message<'_, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("message_id", self.message_id)?;
        map.serialize_entry("publisher_id", &self.publisher_id)?;
        map.serialize_entry("event_type", self.event_type)?;
        map.serialize_entry("priority", self.priority.wire())?;
        map.serialize_entry("payload", self.payload)?;
        map.serialize_entry("timestamp", self.timestamp)?;
        map.serialize_entry("_unique_id", self.unique_id)?;
        let mut name = PREFIX.to_owned();
        for (key, value) in self.context {
            name.truncate(PREFIX.len());
            name.push_str(key);
            map.serialize_entry(&name, value)?;
        }
        map.end()
    }
}

/// JSON as written by Python's `json.dumps` with default arguments: plain, or escaped for a JSON string.
struct Python<const WITHIN: bool>;

impl<const WITHIN: bool> Formatter for Python<WITHIN> {
    fn begin_string<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(if WITHIN { br#"\""# } else { br#"""# })
    }

    fn end_string<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin_string(out)
    }

    fn write_char_escape<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        if !WITHIN {
            return CompactFormatter.write_char_escape(out, escape);
        }
        match escape {
            CharEscape::Quote => out.write_all(br#"\\\""#),
            CharEscape::ReverseSolidus => out.write_all(br"\\\\"),
            // Of these only the backslash, which is the first character, has to be escaped.
            other => {
                out.write_all(br"\")?;
                CompactFormatter.write_char_escape(out, other)
            }
        }
    }

    /// Raw text may have spaces and characters that Python would not write. It is escaped like any other
    /// string.
    fn write_raw_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !WITHIN {
            return out.write_all(fragment.as_bytes());
        }
        let string = to_vec::<false>(Vec::with_capacity(2 * fragment.len()), fragment)?;
        out.write_all(&string[1..string.len() - 1])
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_f32<W: Write + ?Sized>(&mut self, out: &mut W, value: f32) -> io::Result<()> {
        if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
            return CompactFormatter.write_f32(out, value);
        }
        let mut number = Vec::new();
        CompactFormatter.write_f32(&mut number, value)?;
        write_exponent(out, &number)
    }

    fn write_f64<W: Write + ?Sized>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
            return CompactFormatter.write_f64(out, value);
        }
        let mut number = Vec::new();
        CompactFormatter.write_f64(&mut number, value)?;
        write_exponent(out, &number)
    }

    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Control characters never occur here: they have escapes of their own.
        if is_plain(fragment.as_bytes()) {
            return out.write_all(fragment.as_bytes());
        }
        let mut written = 0;
        for (at, character) in fragment.char_indices().filter(|(_, c)| *c >= '\x7f') {
            out.write_all(&fragment.as_bytes()[written..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                let backslash = if WITHIN { r"\\" } else { r"\" };
                write!(out, "{backslash}u{unit:04x}")?;
            }
            written = at + character.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[written..])
    }
}

/// Whether every byte is below 0x7f.
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes.as_chunks::<8>();
    // Only a byte of 0xff carries into its neighbour, and its own high bit is set.
    let high = words.iter().fold(0, |high, word| {
        let word = u64::from_ne_bytes(*word);
        high | word | word.wrapping_add(ONES)
    });
    high & (ONES << 7) == 0 && rest.iter().all(|byte| *byte < 0x7f)
}

/// Converts `1.5e16` and `0.000015` to Python's form of such numbers: an exponent with a sign and at least
/// two digits. The other digits are the same.
fn write_exponent<W: Write + ?Sized>(out: &mut W, number: &[u8]) -> io::Result<()> {
    let number = str::from_utf8(number).expect("numbers are ASCII");
    if let Some((digits, exponent)) = number.split_once('e') {
        let exponent: i32 = exponent.parse().expect("an exponent is a small integer");
        return write!(out, "{digits}e{exponent:+03}");
    }
    let (sign, fraction) = number.split_once("0.").expect("such a number begins with a zero");
    let digits = fraction.trim_start_matches('0');
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent = fraction.len() - digits.len() + 1;
    write!(out, "{sign}{first}{point}{rest}e-{exponent:02}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json, value::RawValue};

    use super::*;
    use crate::envelope::{Labels, Limits, open, read};

    /// Reads a body of Python, writes it again, and expects the same bytes.
    #[track_caller]
    fn check(version: EnvelopeVersion, golden: &[u8]) {
        let opened = open(golden, Labels::default(), &Limits::default()).unwrap();
        let fields = read(&opened.text).unwrap();
        let context = fields.context.iter();
        let message = Message {
            message_id: fields.message_id.as_deref().unwrap(),
            publisher_id: fields.publisher_id.as_deref(),
            event_type: fields.event_type.as_deref().unwrap(),
            priority: fields.priority.as_deref().unwrap().parse().unwrap(),
            payload: &serde_json::from_str::<Value>(fields.payload.get()).unwrap(),
            timestamp: fields.timestamp.as_deref().unwrap(),
            unique_id: fields.unique_id.as_deref().unwrap(),
            context: &context
                .map(|(key, value)| (&**key, serde_json::from_str::<Value>(value.get()).unwrap()))
                .collect(),
        };
        assert_eq!(opened.version, version);
        assert_eq!(
            String::from_utf8(encode(version, &message).unwrap()).unwrap(),
            String::from_utf8(golden.to_vec()).unwrap()
        );
    }

    fn payload<P: Serialize + ?Sized>(payload: &P) -> Result<String, EncodeError> {
        let message = Message {
            message_id: "",
            publisher_id: None,
            event_type: "",
            priority: Priority::Info,
            payload,
            timestamp: "",
            unique_id: "",
            context: &Context::new(),
        };
        let body = String::from_utf8(encode(EnvelopeVersion::V1, &message)?).unwrap();
        Ok(read(&body).unwrap().payload.get().to_owned())
    }

    #[test]
    fn version_1_is_written_as_python_writes_it() {
        check(EnvelopeVersion::V1, include_bytes!("golden/v1.json"));
    }

    #[test]
    fn version_2_is_written_as_python_writes_it() {
        check(EnvelopeVersion::V2, include_bytes!("golden/v2.json"));
    }

    /// Expects version 2 to contain version 1, escaped like any other string.
    #[track_caller]
    fn check_within<P: Serialize + ?Sized>(payload: &P) {
        let context = Context::new().with("\"é\n", "\\\u{7f}😀").with("b", 1.5e20);
        let message = Message {
            message_id: "m\"\\",
            publisher_id: Some("é\0"),
            event_type: "e",
            priority: Priority::Info,
            payload,
            timestamp: "t",
            unique_id: "u",
            context: &context,
        };
        let alone = String::from_utf8(encode(EnvelopeVersion::V1, &message).unwrap()).unwrap();
        let envelope = BTreeMap::from([("oslo.message", &*alone)]);
        let string = to_vec::<false>(Vec::new(), &envelope).unwrap();
        let expected = [br#"{"oslo.version": "2.0", "#, &string[1..]].concat();
        assert_eq!(
            String::from_utf8(encode(EnvelopeVersion::V2, &message).unwrap()).unwrap(),
            String::from_utf8(expected).unwrap()
        );
    }

    #[test]
    fn version_2_contains_version_1_whatever_the_payload() {
        check_within(&BTreeMap::from([(1, "a"), (-2, "b")]));
        check_within(&BTreeMap::from([(true, '"'), (false, 'é')]));
        check_within(&(1.5_f32, 1e300, f64::NAN, u128::MAX, (), Some("x"), [0_u8; 3]));
        for raw in [r#"{"a":1e5,"b":"é\"\\"}"#, "[1,\n\t\"\u{7f}😀\\u00e9\"]", "\"\"", "null"] {
            check_within(&RawValue::from_string(raw.to_owned()).unwrap());
        }
        let text: String = ('\0'..='\u{101}').chain(['\u{2028}', '😀']).collect();
        check_within(&text);
        check_within(&json!({&text: [&text, {"a": {}}, []]}));
    }

    #[test]
    fn random_texts_are_written_equally_in_both_versions() {
        let mut rng = fastrand::Rng::with_seed(7);
        let pieces =
            ["\"", "\\", "\n", "\0", "/", "é", "😀", "\u{7f}", "a", "abcdefgh", "\u{ffff}"];
        for _ in 0..2_000 {
            let length = rng.usize(..20);
            let text: String = (0..length).map(|_| pieces[rng.usize(..pieces.len())]).collect();
            check_within(&text);
        }
    }

    #[test]
    fn a_list_is_written_as_python_writes_it() {
        check(EnvelopeVersion::V1, include_bytes!("golden/v1-list.json"));
        check(EnvelopeVersion::V2, include_bytes!("golden/v2-list.json"));
    }

    #[test]
    fn a_text_is_written_as_python_writes_it() {
        check(EnvelopeVersion::V1, include_bytes!("golden/v1-text.json"));
        check(EnvelopeVersion::V2, include_bytes!("golden/v2-text.json"));
    }

    #[test]
    fn null_is_written_as_python_writes_it() {
        check(EnvelopeVersion::V1, include_bytes!("golden/v1-null.json"));
        check(EnvelopeVersion::V2, include_bytes!("golden/v2-null.json"));
    }

    #[test]
    fn short_floats_are_written_as_python_would() {
        assert_eq!(
            payload(&[0.1_f32, 1e-4, 1e-5, 1e16, -2.5e20]).unwrap(),
            "[0.1, 0.0001, 1e-05, 1e+16, -2.5e+20]"
        );
    }

    #[test]
    fn floats_that_are_not_finite_become_null() {
        assert_eq!(
            payload(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).unwrap(),
            "[null, null, null]"
        );
    }

    #[test]
    fn integers_of_128_bits_are_exact() {
        assert_eq!(
            payload(&(u128::MAX, i128::MIN)).unwrap(),
            "[340282366920938463463374607431768211455, -170141183460469231731687303715884105728]"
        );
    }

    #[test]
    fn raw_text_is_written_unchanged() {
        let raw = RawValue::from_string(r#"{"a":1e5,"b":"é"}"#.to_owned()).unwrap();
        assert_eq!(payload(&raw).unwrap(), r#"{"a":1e5,"b":"é"}"#);
    }

    #[test]
    fn a_payload_may_be_unsized() {
        assert_eq!(payload("é").unwrap(), r#""\u00e9""#);
    }

    #[test]
    fn a_missing_publisher_is_null_and_context_keys_are_escaped() {
        let message = Message {
            message_id: "m",
            publisher_id: None,
            event_type: "e",
            priority: Priority::Warn,
            payload: &(),
            timestamp: "t",
            unique_id: "u",
            context: &Context::new().with("\"é", json!({"b": [], "a": {}})),
        };
        assert_eq!(
            String::from_utf8(encode(EnvelopeVersion::V1, &message).unwrap()).unwrap(),
            concat!(
                r#"{"message_id": "m", "publisher_id": null, "event_type": "e", "priority": "WARN", "#,
                r#""payload": null, "timestamp": "t", "_unique_id": "u", "#,
                r#""_context_\"\u00e9": {"a": {}, "b": []}}"#
            )
        );
    }

    #[test]
    fn a_payload_without_a_json_form_is_refused() {
        let odd = BTreeMap::from([(vec![1], 1)]);
        assert_eq!(payload(&odd).unwrap_err().to_string(), "payload cannot be written as json");
    }
}
