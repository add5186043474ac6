//! Bodies that are known to break JSON parsers: each is read as Python reads it, or refused.

use listener::envelope::{Compression, Labels, Limits, open, read};
use serde_json::Value;

const MILLION: usize = 1_000_000;

/// The payload of a body, or the error.
fn payload(body: &[u8], compression: Option<&str>) -> Result<String, String> {
    let labels = Labels { content_type: Some("application/json"), compression };
    let opened = open(body, labels, &Limits::default()).map_err(|error| error.to_string())?;
    let fields = read(&opened.text).map_err(|error| error.to_string())?;
    Ok(fields.payload.get().to_owned())
}

#[track_caller]
fn check(body: &str, expected: Result<&str, &str>) {
    let found = payload(body.as_bytes(), None);
    assert!(
        found.as_deref().map_err(String::as_str) == expected,
        "{:.200}",
        found.unwrap_or_else(|error| error)
    );
}

#[test]
fn numbers_of_any_size_are_kept_as_written() {
    for number in ["1e999999", "-1e999999", "1e-999999", &"9".repeat(MILLION)] {
        check(&format!(r#"{{"payload": {number}}}"#), Ok(number));
        // A priority that is a number counts as none, and the rest is still read.
        check(&format!(r#"{{"priority": {number}, "payload": 1}}"#), Ok("1"));
    }
}

#[test]
fn a_million_keys_are_read_and_the_last_of_each_counts() {
    let keys =
        |value: &str| (0..MILLION).map(|n| format!(r#""k{n}": {value}, "#)).collect::<String>();
    let body = format!(r#"{{{}"payload": 1, {}"payload": 2}}"#, keys("1"), keys("[]"));
    check(&body, Ok("2"));
    let body = format!(r#"{{{}"_context_last": 1}}"#, keys("1").replace("\"k", "\"_context_k"));
    let text = open(body.as_bytes(), Labels::default(), &Limits::default()).unwrap().text;
    assert_eq!(read(&text).unwrap().context.len(), MILLION + 1);
}

#[test]
fn the_last_of_a_key_counts_as_in_python() {
    let body = r#"{"oslo.version": "9", "oslo.message": 1, "oslo.version": "2.0",
        "oslo.message": "{\"payload\": 1, \"payload\": {\"a\": 1, \"a\": 2}}"}"#;
    let found = payload(body.as_bytes(), None).unwrap();
    // The same as python3 -c 'import json; print(json.loads(..))' prints.
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), serde_json::json!({"a": 2}));
}

#[test]
fn an_inner_message_that_is_not_a_string_is_refused() {
    for (message, found) in
        [("1", "a number"), ("null", "null"), ("[\"x\"]", "a list"), ("{}", "an object")]
    {
        check(
            &format!(r#"{{"oslo.version": "2.0", "oslo.message": {message}}}"#),
            Err(&format!("field \"oslo.message\" is {found} (expected a string)")),
        );
    }
}

#[test]
fn half_surrogate_pairs_and_byte_order_marks_are_repaired_or_refused() {
    check(r#"{"payload": "\ud800\udfff\udc00"}"#, Ok(r#""\ud800\udfff\ufffd""#));
    check("\u{feff}{}", Err("body begins with a byte order mark (expected an object)"));
    assert_eq!(
        payload(b"{\"payload\": \"\xed\xa0\x80\"}", None),
        Err("body is not utf-8 at byte 13".to_owned())
    );
}

#[test]
fn a_truncated_body_is_refused() {
    for whole in [
        &include_bytes!("../../listener/src/envelope/golden/v1.json")[..],
        include_bytes!("../../listener/src/envelope/golden/v2.json"),
        include_bytes!("../../listener/src/envelope/golden/v1-tagged.json"),
    ] {
        let whole = whole.trim_ascii_end();
        for end in 0..whole.len() {
            assert!(payload(&whole[..end], None).is_err(), "{}", whole[..end].escape_ascii());
        }
        assert!(payload(whole, None).is_ok());
    }
}

#[test]
fn a_truncated_compressed_body_is_refused() {
    for (whole, label) in [
        (&include_bytes!("../../listener/src/envelope/golden/v1.json.zlib")[..], "gzip"),
        (include_bytes!("../../listener/src/envelope/golden/v1.json.bz2"), "bzip2"),
    ] {
        for end in 0..whole.len() {
            assert!(payload(&whole[..end], Some(label)).is_err(), "{label}: {end}");
        }
        assert!(payload(whole, Some(label)).is_ok());
    }
}

#[test]
fn a_million_nested_levels_are_refused_or_kept_as_text() {
    let deep = format!("{}{}", "[".repeat(MILLION), "]".repeat(MILLION));
    check(&format!(r#"{{"payload": {deep}}}"#), Ok(&deep));
    check(&format!(r#"{{"priority": {deep}}}"#), Ok("null"));
    check(
        &format!(r#"{{"payload": [{{"__type__": 1}}, {deep}]}}"#),
        Err("body nests deeper than 512 levels at byte 540"),
    );
}

#[test]
fn a_decompression_bomb_is_refused_at_the_limit() {
    let limits = Limits::default().max_body(1 << 20);
    let plain = vec![b' '; 16 << 20];
    for compression in [Compression::Zlib, Compression::Bzip2] {
        let bomb = compression.compress(&plain);
        assert!(bomb.len() < plain.len() / 500, "{compression}: {} bytes", bomb.len());
        let labels = Labels { compression: Some(compression.content_type()), content_type: None };
        let error = open(&bomb, labels, &limits).unwrap_err().to_string();
        assert!(
            error.starts_with("body has ") && error.ends_with("(expected at most 1048576)"),
            "{error}"
        );
    }
}
