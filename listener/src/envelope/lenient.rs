//! Converts Python's JSON to standard JSON: `NaN` and the infinities become null, lone surrogates become
//! U+FFFD. Valid JSON is unchanged, and text that is invalid for other reasons stays invalid; it is not
//! validated here. Called by `open`, `v1.rs` and `v2.rs` for every text, so the check whether there is
//! anything to do is cheap.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr_iter, memchr2, memchr3, memchr3_iter};

static MESSAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("oslo.message"));
static REQUEST: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"request\""));
static TYPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("__type__"));

/// The text as standard JSON, borrowed if nothing was changed.
pub(super) fn repair(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let suspicious = memchr3_iter(b'N', b'I', b'\\', bytes).any(|at| {
        bytes[at..].starts_with(b"NaN")
            || bytes[at..].starts_with(b"Infinity")
            || matches!(unit(bytes, at), Some(0xd800..=0xdfff))
    });
    if suspicious { rewrite(text) } else { Cow::Borrowed(text) }
}

/// The same for a text that may be owned. An owned text is returned if nothing was changed.
pub(super) fn repaired(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => repair(text),
        Cow::Owned(text) => match repair(&text) {
            Cow::Borrowed(_) => Cow::Owned(text),
            Cow::Owned(repaired) => Cow::Owned(repaired),
        },
    }
}

/// A key that a text may have somewhere.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Message,
    Request,
    Type,
}

/// Whether the text may contain a key: it contains the name, or letters of keys written as escapes.
pub(super) fn may_name(text: &str, wanted: Wanted) -> bool {
    let bytes = text.as_bytes();
    let finder = match wanted {
        Wanted::Message => &MESSAGE,
        Wanted::Request => &REQUEST,
        Wanted::Type => &TYPE,
    };
    finder.find(bytes).is_some()
        || has_unicode_escape(bytes, |unit| {
            u8::try_from(unit).is_ok_and(|byte| matches!(byte, b'a'..=b'z' | b'.' | b'_'))
        })
}

fn has_unicode_escape(bytes: &[u8], wanted: impl Fn(u16) -> bool) -> bool {
    memchr_iter(b'\\', bytes).any(|at| unit(bytes, at).is_some_and(&wanted))
}

fn rewrite(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut edits = Edits::of(text);
    let mut at = 0;
    while let Some(found) = memchr3(b'"', b'N', b'I', &bytes[at..]) {
        at += found;
        let rest = &bytes[at..];
        at = if rest[0] == b'"' {
            rewrite_string(bytes, at + 1, &mut edits)
        } else if rest.starts_with(b"NaN") {
            edits.replace(at..at + 3, "null")
        } else if rest.starts_with(b"Infinity") {
            let minus = usize::from(bytes[..at].ends_with(b"-"));
            edits.replace(at - minus..at + 8, "null")
        } else {
            at + 1
        };
    }
    edits.finish()
}

/// Walks a string from after its opening quote. Returns the position after its closing quote.
fn rewrite_string(bytes: &[u8], start: usize, edits: &mut Edits<'_>) -> usize {
    let mut at = start;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at = match (unit(bytes, at), unit(bytes, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at + 12,
            (Some(0xd800..=0xdfff), _) => edits.replace(at..at + 6, "\\ufffd"),
            _ => at + 2,
        };
    }
    bytes.len()
}

/// The escaped UTF-16 unit at this position, if there is one.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = u16::try_from(char::from(*digit).to_digit(16)?).ok()?;
        Some(unit << 4 | digit)
    })
}

/// A text that is copied at the first change.
struct Edits<'t> {
    text: &'t str,
    copied: usize,
    done: String,
}

impl<'t> Edits<'t> {
    fn of(text: &'t str) -> Self {
        Self { text, copied: 0, done: String::new() }
    }

    /// Returns the position after the replaced range.
    fn replace(&mut self, range: Range<usize>, with: &str) -> usize {
        if self.copied == 0 {
            self.done.reserve(self.text.len());
        }
        self.done.push_str(&self.text[self.copied..range.start]);
        self.done.push_str(with);
        self.copied = range.end;
        range.end
    }

    fn finish(mut self) -> Cow<'t, str> {
        // No change ends at position 0, so nothing copied means nothing changed.
        if self.copied == 0 {
            return Cow::Borrowed(self.text);
        }
        self.done.push_str(&self.text[self.copied..]);
        Cow::Owned(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(repair(text), expected);
    }

    #[track_caller]
    fn left_alone(text: &str) {
        assert!(matches!(repair(text), Cow::Borrowed(same) if same == text), "{text}");
        assert!(matches!(rewrite(text), Cow::Borrowed(same) if same == text), "{text}");
    }

    #[test]
    fn nan_becomes_null() {
        check(r#"{"a": NaN, "b": [NaN,NaN]}"#, r#"{"a": null, "b": [null,null]}"#);
    }

    #[test]
    fn the_infinities_become_null() {
        check("[Infinity, -Infinity]", "[null, null]");
    }

    #[test]
    fn a_name_within_a_string_is_text() {
        left_alone(r#"{"NaN": "NaN", "-Infinity": "\"Infinity", "x": "\\"}"#);
    }

    #[test]
    fn half_a_pair_becomes_the_replacement_character() {
        check(
            r#"["\ud800", "\uDC00x", "\ud800\ud800\udc00", "\udbff\n"]"#,
            r#"["\ufffd", "\ufffdx", "\ufffd\ud800\udc00", "\ufffd\n"]"#,
        );
    }

    #[test]
    fn a_half_at_the_end_of_a_string_is_found() {
        check(r#"["\\\ud800"]"#, r#"["\\\ufffd"]"#);
    }

    #[test]
    fn a_whole_pair_is_left_alone() {
        left_alone(r#"["\ud83d\ude00\uD83D\uDE00"]"#);
    }

    #[test]
    fn an_escaped_backslash_begins_no_escape() {
        left_alone(r#"["\\ud800", "\\\\ud800\\"]"#);
    }

    #[test]
    fn invalid_json_does_not_become_valid() {
        for text in [
            "NaNNaN",
            "-NaN",
            "--Infinity",
            "1Infinity",
            "1-Infinity",
            "NaN1",
            "nNaN",
            "{NaN: 1}",
            "Infinit",
            "+Infinity",
            "[1 NaN]",
            "nan",
            "\"NaN",
            "[\"\\ud800]",
            "[\"\\ud8zz\"]",
            "\"\\",
            "\"\\u",
            "\"\\ud8",
            "1eNaN",
            "[NaN",
            "NaN\"\\é",
        ] {
            let repaired = repair(text);
            assert!(serde_json::from_str::<serde_json::Value>(&repaired).is_err(), "{text}");
        }
    }

    #[test]
    fn valid_json_is_never_changed() {
        let pieces = [
            r#"\""#,
            r"\\",
            r"\n",
            r"\ud83d\ude00",
            "ud800",
            "NaN",
            "-Infinity",
            "}",
            "[",
            ",",
            "é",
        ];
        for number in 0..pieces.len().pow(4) {
            let piece = |power| pieces[number / pieces.len().pow(power) % pieces.len()];
            let (key, value) = ([piece(0), piece(1)].concat(), [piece(2), piece(3)].concat());
            let text = format!(r#"{{"{key}": [-1, "{value}"],"x":"{key}{value}"}}"#);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
            left_alone(&text);
        }
    }

    #[test]
    fn a_key_is_found_plain_or_escaped() {
        assert!(may_name(r#"{"oslo.message": 1}"#, Wanted::Message));
        assert!(may_name(r#"{"oslo\u002emessage": 1}"#, Wanted::Message));
        assert!(may_name(r#"{"\u005F_type__": 1}"#, Wanted::Type));
        assert!(!may_name(r#"{"\u00e9\ud83d\ude00\u0007\u007f\u003c": 1}"#, Wanted::Type));
    }
}
