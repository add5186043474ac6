//! Kombu's tagged values: `{"__type__": "datetime", "__value__": ".."}` is replaced by a plain value, by the
//! table in `wire.md`. Everything else is copied unchanged, so that numbers stay exact. Only version 1 has
//! them; called by `v1.rs`.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::envelope::error::{DecodeError, Kind, Part, not_json, redacted_json};
use crate::envelope::fields::Text;
use crate::envelope::lenient::{Wanted, may_name};

const TYPE: &str = "__type__";
const VALUE: &str = "__value__";

/// The text with every tagged value replaced; borrowed if there can be none.
pub(super) fn untag(text: &str, max_depth: usize) -> Result<Cow<'_, str>, DecodeError> {
    if !may_name(text, Wanted::Type) {
        return Ok(Cow::Borrowed(text));
    }
    // The walk expects valid JSON; otherwise it could repair an invalid text by dropping parts of it.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(Part::Body, text, error))?;
    let mut walk = Walk { text, max_depth, out: String::with_capacity(text.len()), levels: vec![] };
    walk.run()?;
    Ok(Cow::Owned(walk.out))
}

/// One pass over the tokens of valid JSON, with an explicit stack.
struct Walk<'t> {
    text: &'t str,
    max_depth: usize,
    out: String,
    levels: Vec<Level>,
}

/// A list or an object that is not closed yet.
struct Level {
    /// Where it begins in the text.
    at: usize,
    /// Where it begins in the output.
    start: usize,
    is_object: bool,
    /// The key whose value comes next.
    key: Option<Key>,
    /// Whether there is a key next to the two.
    other: bool,
    /// Where the values of the two keys are in the output.
    tag: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

enum Key {
    Type,
    Value,
    Other,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), DecodeError> {
        let text = self.text;
        let mut at = 0;
        while let Some(&byte) = text.as_bytes().get(at) {
            let end = token_end(text.as_bytes(), at);
            match byte {
                b'{' | b'[' => self.begin(at, byte == b'{')?,
                b'}' | b']' => self.end()?,
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.out.push_str(&text[at..end]),
                _ => self.scalar(&text[at..end]),
            }
            at = end;
        }
        Ok(())
    }

    fn begin(&mut self, at: usize, is_object: bool) -> Result<(), DecodeError> {
        if self.levels.len() == self.max_depth {
            return Err(DecodeError::TooDeep { limit: self.max_depth, at });
        }
        self.levels.push(Level {
            at,
            start: self.out.len(),
            is_object,
            key: None,
            other: false,
            tag: None,
            value: None,
        });
        self.out.push(if is_object { '{' } else { '[' });
        Ok(())
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        let level = self.levels.pop().expect("brackets are paired in valid JSON");
        match (level.tag, level.value) {
            (Some(tag), Some(value)) if !level.other => {
                let plain = plain(&self.out[tag], &self.out[value], level.at)?;
                self.out.truncate(level.start);
                self.out.push_str(&plain);
            }
            _ => self.out.push(if level.is_object { '}' } else { ']' }),
        }
        self.value(level.start);
        Ok(())
    }

    /// A string, number, boolean or null; or a key.
    fn scalar(&mut self, token: &str) {
        let start = self.out.len();
        self.out.push_str(token);
        match self.levels.last_mut() {
            Some(level) if level.is_object && level.key.is_none() => {
                let key = serde_json::from_str(token).ok().and_then(|key: Text<'_>| key.some());
                level.key = Some(match key.as_deref() {
                    Some(TYPE) => Key::Type,
                    Some(VALUE) => Key::Value,
                    _ => Key::Other,
                });
            }
            _ => self.value(start),
        }
    }

    /// Records that the output has a whole value from `start` to its end.
    fn value(&mut self, start: usize) {
        let range = start..self.out.len();
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        match level.key.take() {
            Some(Key::Type) => level.tag = Some(range),
            Some(Key::Value) => level.value = Some(range),
            Some(Key::Other) => level.other = true,
            None => {}
        }
    }
}

/// The end of the token that begins at `at`, in valid JSON.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let length = match rest[0] {
        b'"' => string_length(rest),
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        b' ' | b'\t' | b'\n' | b'\r' => {
            rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
        }
        _ => rest.iter().take_while(|byte| !b",:]} \t\n\r".contains(byte)).count(),
    };
    at + length
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr2(b'"', b'\\', &rest[at..]) {
        at += found;
        match rest[at] {
            b'"' => return at + 1,
            _ => at += 2,
        }
    }
    rest.len()
}

/// The plain value, as JSON text, for the JSON texts of tag and value.
fn plain(tag: &str, value: &str, at: usize) -> Result<String, DecodeError> {
    let name = serde_json::from_str(tag).ok().and_then(|tag: Text<'_>| tag.some());
    let found = Kind::of(value.as_bytes()[0]).expect("a valid JSON value has a kind");
    let wrong = |tag, expected| Err(DecodeError::TaggedValue { tag, expected, found, at });
    let string = |tag| match found {
        Kind::String => Ok(value.to_owned()),
        _ => wrong(tag, "a string"),
    };
    match name.as_deref() {
        Some("datetime") => string("datetime"),
        Some("date") => string("date"),
        Some("time") => string("time"),
        Some("bytes") => string("bytes"),
        Some("base64") => string("base64"),
        Some("decimal") if found == Kind::Number => Ok(format!("\"{value}\"")),
        Some("decimal") => string("decimal"),
        Some("uuid") => match uuid(value) {
            Some(uuid) => Ok(format!("\"{uuid}\"")),
            None => wrong("uuid", "an object with 32 digits under the one key \"hex\""),
        },
        _ => Err(DecodeError::Tag { found: redacted_json(tag), at }),
    }
}

fn uuid(value: &str) -> Option<Uuid> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Hex<'t> {
        #[serde(borrow)]
        hex: Cow<'t, str>,
    }
    let Hex { hex } = serde_json::from_str(value).ok()?;
    Uuid::try_parse(&hex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(untag(text, 512).unwrap(), expected);
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        untag(text, 512).unwrap_err().to_string()
    }

    #[test]
    fn a_text_without_tags_is_borrowed() {
        assert!(matches!(untag(r#"{"a": "\u00e9"}"#, 512), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_datetime_becomes_its_text() {
        check(
            r#"{"at": {"__type__": "datetime", "__value__": "2026-05-09T01:02:03.000004"}}"#,
            r#"{"at": "2026-05-09T01:02:03.000004"}"#,
        );
    }

    #[test]
    fn a_date_becomes_its_text() {
        check(r#"[{"__type__": "date", "__value__": "2026-05-09"}]"#, r#"["2026-05-09"]"#);
    }

    #[test]
    fn a_time_becomes_its_text() {
        check(r#"[{"__type__": "time", "__value__": "01:02:03"}]"#, r#"["01:02:03"]"#);
    }

    #[test]
    fn a_decimal_becomes_a_string() {
        check(r#"[{"__type__": "decimal", "__value__": "1.10"}]"#, r#"["1.10"]"#);
    }

    #[test]
    fn a_decimal_written_as_a_number_becomes_a_string() {
        check(r#"[{"__type__": "decimal", "__value__": 1.10}]"#, r#"["1.10"]"#);
    }

    #[test]
    fn a_uuid_gets_its_hyphens() {
        check(
            r#"[{"__type__": "uuid", "__value__": {"hex": "7c5f2f4e2d0c4b539d5d5f0b4a1b2c3d"}}]"#,
            r#"["7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d"]"#,
        );
    }

    #[test]
    fn bytes_become_their_text() {
        check(r#"[{"__type__": "bytes", "__value__": "\u00e9\""}]"#, r#"["\u00e9\""]"#);
    }

    #[test]
    fn base64_stays_base64() {
        check(r#"[{"__type__": "base64", "__value__": "//79"}]"#, r#"["//79"]"#);
    }

    #[test]
    fn order_and_spaces_do_not_matter() {
        check("[{ \"__value__\" :\"x\"\n,\"__type__\": \"bytes\" } ]", "[\"x\" ]");
    }

    #[test]
    fn keys_and_tags_may_be_written_with_escapes() {
        check(r#"[{"\u005f_type__": "byt\u0065s", "__value__": "x"}]"#, r#"["x"]"#);
    }

    #[test]
    fn the_last_of_a_key_counts() {
        check(
            r#"[{"__type__": "a", "__value__": [1], "__type__": "bytes", "__value__": "x"}]"#,
            r#"["x"]"#,
        );
    }

    #[test]
    fn an_object_with_a_third_key_is_not_tagged() {
        let text = r#"[{"__type__": "bytes", "__value__": "x", "y": {}}, {"__type__": "bytes"}]"#;
        check(text, text);
    }

    #[test]
    fn all_that_is_not_tagged_stays_as_written() {
        check(
            r#"{ "n": [1e2, 1.50,-0, 184467440737095516160000], "__type__" :{"__type__":"date","__value__":"d"}, "e":[ ],"o":{} }"#,
            r#"{ "n": [1e2, 1.50,-0, 184467440737095516160000], "__type__" :"d", "e":[ ],"o":{} }"#,
        );
    }

    #[test]
    fn a_tag_that_kombu_does_not_know_is_named() {
        assert_eq!(
            refused(r#"{"a": {"__type__": "set", "__value__": ["secret"]}}"#),
            "type tag \"set\" at byte 6 is not known (expected \"datetime\", \"date\", \
             \"time\", \"decimal\", \"uuid\", \"bytes\" or \"base64\")"
        );
    }

    #[test]
    fn a_tag_that_is_not_a_string_is_unknown() {
        assert_eq!(
            refused(r#"[{"__type__": null, "__value__": "secret"}]"#),
            "type tag null at byte 1 is not known (expected \"datetime\", \"date\", \
             \"time\", \"decimal\", \"uuid\", \"bytes\" or \"base64\")"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_not_echoed() {
        assert_eq!(
            refused(r#"[{"__type__": "date", "__value__": ["secret"]}]"#),
            "value tagged \"date\" at byte 1 is a list (expected a string)"
        );
    }

    #[test]
    fn a_uuid_without_32_digits_is_refused() {
        for value in [r#"{"hex": "1"}"#, r#"{"hex": 1}"#, r#"{"int": 1}"#, "{}"] {
            assert_eq!(
                refused(&format!(r#"[{{"__type__": "uuid", "__value__": {value}}}]"#)),
                "value tagged \"uuid\" at byte 1 is an object \
                 (expected an object with 32 digits under the one key \"hex\")"
            );
        }
    }

    #[test]
    fn a_broken_text_is_not_repaired() {
        assert_eq!(
            refused(r#"[{"__type__": "date" x, "__value__": "d"}]"#),
            "body is not valid json near byte 21"
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |levels: usize| format!("{}\"__type__\"{}", "[".repeat(levels), "]".repeat(levels));
        check(&nested(512), &nested(512));
        assert_eq!(refused(&nested(100_000)), "body nests deeper than 512 levels at byte 512");
    }
}
