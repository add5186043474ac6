//! What can be wrong with a body, and the words in which it is said. Payload and context
//! values never get into an error, for they hold secrets; labels, versions and type tags
//! do, if they are words. Made all over `envelope`; judged by whoever settles the delivery.

use std::fmt;
use std::io;

use crate::envelope::compression::{Compression, UnknownCompression};
use crate::shown::shown;

/// A body that is no notification. No attempt at the same bytes will end otherwise.
///
/// Places are counted in bytes, after `NaN` and the like were repaired.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The content type is not JSON's.
    #[error("content type {found:?} is not supported (expected \"application/json\")")]
    ContentType {
        /// The label as it was found, if it can be one.
        found: String,
    },
    /// The `compression` header names nothing that can be undone.
    #[error(transparent)]
    Compression(#[from] UnknownCompression),
    /// The body is not what its `compression` header says.
    #[error("body is not a whole {expected} stream")]
    Decompress {
        /// What the header said.
        expected: Compression,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The body is larger than [`Limits::max_body`](crate::envelope::Limits::max_body).
    #[error("body has {found} bytes or more (expected at most {limit})")]
    TooLarge {
        /// The bytes seen; decompression stops when there are too many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The body is not UTF-8.
    #[error("body is not utf-8 at byte {at}")]
    Utf8 {
        /// The place of the first wrong byte.
        at: usize,
    },
    /// There is nothing but white space.
    #[error("{part} is empty (expected an object)")]
    Empty {
        /// Where that was.
        part: Part,
    },
    /// There is a byte order mark before the JSON text, which JSON forbids.
    #[error("{part} begins with a byte order mark (expected an object)")]
    ByteOrderMark {
        /// Where that was.
        part: Part,
    },
    /// There is JSON, but not an object.
    #[error("{part} is {found} (expected an object)")]
    NotAnObject {
        /// Where that was.
        part: Part,
        /// What there is instead.
        found: Kind,
    },
    /// There is no valid JSON text.
    #[error("{part} is not valid json near byte {at}")]
    Json {
        /// Where that was.
        part: Part,
        /// The place in that part, give or take a byte.
        at: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The envelope has a version that this crate does not know.
    #[error("envelope version {found} is not supported (expected \"2.0\")")]
    Version {
        /// The version as JSON text, if it can be one; else its kind.
        found: String,
    },
    /// There is the text of a version 2 envelope, and no version.
    #[error("the body has `oslo.message` and no `oslo.version` (expected \"2.0\")")]
    NoVersion,
    /// A field has a value of the wrong kind.
    #[error("field {key:?} is {found} (expected {expected})")]
    Field {
        /// The field.
        key: &'static str,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: Kind,
    },
    /// A tagged value has a type that kombu does not know either.
    #[error(
        "type tag {found} at byte {at} is not known \
         (expected \"datetime\", \"date\", \"time\", \"decimal\", \"uuid\", \"bytes\" or \"base64\")"
    )]
    Tag {
        /// The tag as JSON text, if it can be one; else its kind.
        found: String,
        /// The place of the tagged value.
        at: usize,
    },
    /// A tagged value does not hold what its type needs.
    #[error("value tagged {tag:?} at byte {at} is {found} (expected {expected})")]
    TaggedValue {
        /// The tag.
        tag: &'static str,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: Kind,
        /// The place of the tagged value.
        at: usize,
    },
    /// A body with tagged values nests deeper than
    /// [`Limits::max_depth`](crate::envelope::Limits::max_depth).
    #[error("body nests deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// The place of the first level that is too deep.
        at: usize,
    },
}

/// What is said of a body that is JSON, and has nothing that a notification has.
pub(crate) const NOT_A_NOTIFICATION: &str = "the body is not a notification: it has no known \
    `priority`, no `event_type`, no `payload` and no `oslo.message`";

/// A notification that cannot be written.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The payload has no form in JSON: its `Serialize` failed, or a map in it has keys
    /// that are not strings, numbers or booleans.
    #[error("payload cannot be written as json")]
    Payload(#[source] serde_json::Error),
}

/// The part of a body that an error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// The body, decompressed.
    Body,
    /// The text within the version 2 envelope.
    Message,
    /// The opened text, whichever version it came from.
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
    /// The kind that a JSON text shows by its first byte.
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

/// A JSON value that should have been a word, as it may stand in an error.
pub(super) fn shown_json(value: &str) -> String {
    if let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return format!("\"{}\"", shown(text));
    }
    match value.bytes().next().and_then(Kind::of) {
        Some(kind @ (Kind::List | Kind::Object)) => kind.to_string(),
        _ => shown(value),
    }
}

/// Says where in `text` the parser stopped.
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
        assert_eq!(shown_json("\"set\""), "\"set\"");
        assert_eq!(shown_json("\"a{b\""), "\"..(3 bytes, not shown)\"");
        assert_eq!(shown_json("2.1"), "2.1");
        assert_eq!(shown_json("[1]"), "a list");
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
