//! The errors of decoding and encoding. They never contain values of payloads or contexts, as those may be
//! secrets; they contain labels, versions and type tags, if those are plain words. All files of `envelope`
//! make them; the runtime dead-letters the delivery.

use std::fmt;
use std::io;

use crate::envelope::compression::{Compression, UnknownCompression};
use crate::redact::redacted;

/// A body that is not a valid notification. This is permanent.
///
/// Positions are in bytes, after `NaN` and other extensions were repaired.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The content type is not JSON's.
    #[error("content type {found:?} is not supported (expected \"application/json\")")]
    ContentType {
        /// The label, if it is a plain word.
        found: String,
    },
    /// The `compression` header has an unknown value.
    #[error(transparent)]
    Compression(#[from] UnknownCompression),
    /// The body cannot be decompressed according to its `compression` header.
    #[error("body is not a whole {expected} stream")]
    Decompress {
        /// The compression of the header.
        expected: Compression,
        /// The error of the decompressor.
        source: io::Error,
    },
    /// The body is larger than [`Limits::max_body`](crate::envelope::Limits::max_body).
    #[error("body has {found} bytes or more (expected at most {limit})")]
    TooLarge {
        /// The bytes read so far; decompression stops when there are too many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The body is not UTF-8.
    #[error("body is not utf-8 at byte {at}")]
    Utf8 {
        /// The position of the first invalid byte.
        at: usize,
    },
    /// The text is empty or only white space.
    #[error("{part} is empty (expected an object)")]
    Empty {
        /// The part of the body.
        part: Part,
    },
    /// A byte order mark precedes the JSON text, which JSON forbids.
    #[error("{part} begins with a byte order mark (expected an object)")]
    ByteOrderMark {
        /// The part of the body.
        part: Part,
    },
    /// The JSON value is not an object.
    #[error("{part} is {found} (expected an object)")]
    NotAnObject {
        /// The part of the body.
        part: Part,
        /// Its kind.
        found: Kind,
    },
    /// The text is not valid JSON.
    #[error("{part} is not valid json near byte {at}")]
    Json {
        /// The part of the body.
        part: Part,
        /// The approximate position in that part.
        at: usize,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The envelope has an unsupported version.
    #[error("envelope version {found} is not supported (expected \"2.0\")")]
    Version {
        /// The version as JSON text, if it is a plain word; otherwise its kind.
        found: String,
    },
    /// A version 2 envelope without a version.
    #[error("the body has `oslo.message` and no `oslo.version` (expected \"2.0\")")]
    NoVersion,
    /// A field has a value of the wrong kind.
    #[error("field {key:?} is {found} (expected {expected})")]
    Field {
        /// The field.
        key: &'static str,
        /// The expected value.
        expected: &'static str,
        /// The kind of the value.
        found: Kind,
    },
    /// A tagged value has an unknown type.
    #[error(
        "type tag {found} at byte {at} is not known \
         (expected \"datetime\", \"date\", \"time\", \"decimal\", \"uuid\", \"bytes\" or \"base64\")"
    )]
    Tag {
        /// The tag as JSON text, if it is a plain word; otherwise its kind.
        found: String,
        /// The position of the tagged value.
        at: usize,
    },
    /// The value of a tagged value does not fit its type.
    #[error("value tagged {tag:?} at byte {at} is {found} (expected {expected})")]
    TaggedValue {
        /// The tag.
        tag: &'static str,
        /// The expected value.
        expected: &'static str,
        /// The kind of the value.
        found: Kind,
        /// The position of the tagged value.
        at: usize,
    },
    /// A body with tagged values nests deeper than
    /// [`Limits::max_depth`](crate::envelope::Limits::max_depth).
    #[error("body nests deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// The position of the first level that is too deep.
        at: usize,
    },
}

/// The error for a JSON object without any key of a notification.
pub(crate) const NOT_A_NOTIFICATION: &str = "the body is not a notification: it has no known \
    `priority`, no `event_type`, no `payload` and no `oslo.message`";

/// A notification that cannot be written.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The payload cannot be represented in JSON: its `Serialize` failed, or a map in it has keys that are
    /// not strings, numbers or booleans.
    #[error("payload cannot be written as json")]
    Payload(#[source] serde_json::Error),
}

/// The part of a body that an error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// The body, decompressed.
    Body,
    /// The text in the version 2 envelope.
    Message,
    /// The opened text, of either version.
    Notification,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "body",
            Self::Message => "field \"oslo.message\"",
            Self::Notification => "notification",
        })
    }
}

/// The kind of a JSON value, named in errors instead of the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Null,
    Boolean,
    Number,
    String,
    List,
    Object,
}

impl Kind {
    /// The kind of a JSON value, by its first byte.
    pub(super) fn of(first: u8) -> Option<Self> {
        Some(match first {
            b'n' => Self::Null,
            b't' | b'f' => Self::Boolean,
            b'-' | b'0'..=b'9' | b'N' | b'I' => Self::Number,
            b'"' => Self::String,
            b'[' => Self::List,
            b'{' => Self::Object,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

/// A JSON value that should be a plain word, for an error.
pub(super) fn redacted_json(value: &str) -> String {
    if let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return format!("\"{}\"", redacted(text));
    }
    match value.bytes().next().and_then(Kind::of) {
        Some(kind @ (Kind::List | Kind::Object)) => kind.to_string(),
        _ => redacted(value),
    }
}

/// The error with the position in `text` where the parser stopped.
pub(super) fn not_json(part: Part, text: &str, source: serde_json::Error) -> DecodeError {
    let line = text.split_inclusive('\n').take(source.line().saturating_sub(1));
    let at = line.map(str::len).sum::<usize>() + source.column().saturating_sub(1);
    let at = if source.is_eof() { text.len() } else { at.min(text.len()) };
    DecodeError::Json { part, at, source }
}

debug_is_the_message!(DecodeError, EncodeError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_if_it_is_a_word() {
        assert_eq!(redacted_json("\"set\""), "\"set\"");
        assert_eq!(redacted_json("\"a{b\""), "\"..(3 bytes, not shown)\"");
        assert_eq!(redacted_json("2.1"), "2.1");
        assert_eq!(redacted_json("[1]"), "a list");
    }

    #[test]
    fn a_fault_is_placed_over_lines() {
        let text = "{\n\"a\": 1,\n\"b\": x}";
        let source = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
        let error = not_json(Part::Body, text, source);
        assert_eq!(error.to_string(), "body is not valid json near byte 15");
        assert_eq!(text.find('x'), Some(15));
    }

    #[test]
    fn a_text_that_ends_too_early_is_placed_at_its_end() {
        let source = serde_json::from_str::<serde_json::Value>("{\"a\": ").unwrap_err();
        let error = not_json(Part::Body, "{\"a\": ", source);
        assert_eq!(error.to_string(), "body is not valid json near byte 6");
    }
}
