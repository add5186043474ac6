//! Payloads that borrow their strings, with and without escapes.

use std::borrow::Cow;

use listener::{State, notification_endpoint};
use serde::Deserialize;

use crate::rig::{Log, Rig, finish};

#[derive(Deserialize)]
struct Fault<'f> {
    #[serde(borrow)]
    message: Cow<'f, str>,
}

struct Faults;

#[notification_endpoint(register = false)]
impl Faults {
    async fn info(&self, payload: Fault<'_>, log: State<Log>) {
        let _ = log.send(payload.message.into_owned());
    }
}

#[derive(Deserialize)]
struct Plain<'f> {
    message: &'f str,
}

struct Borrows;

#[notification_endpoint(register = false)]
impl Borrows {
    async fn info(&self, payload: Plain<'_>, log: State<Log>) {
        let _ = log.send(payload.message.to_owned());
    }
}

/// Strings as JSON libraries escape them, with their values.
const ESCAPED: [(&str, &str); 4] =
    [(r#"a \"b\"\nc"#, "a \"b\"\nc"), (r"\u00e9", "é"), (r"a\/b", "a/b"), ("plain", "plain")];

/// What `Faults` logs for a body.
async fn written(body: &str) -> String {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Faults).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(body.to_owned()).await;
    let seen = rig.seen().await;
    finish(&listener).await;
    seen
}

#[tokio::test(start_paused = true)]
async fn a_cow_in_a_payload_accepts_strings_with_and_without_escapes() {
    for (written_as, text) in ESCAPED {
        let body = format!(r#"{{"priority": "INFO", "payload": {{"message": "{written_as}"}}}}"#);
        assert_eq!(written(&body).await, text);
    }
}

#[tokio::test(start_paused = true)]
async fn borrowing_a_string_with_escapes_is_an_error_with_a_fix() {
    for (written_as, _) in &ESCAPED[..3] {
        let rig = Rig::new();
        let listener = rig.builder().endpoint(Borrows).build().unwrap();
        listener.start().await.unwrap();
        let body = format!(r#"{{"priority": "INFO", "payload": {{"message": "{written_as}"}}}}"#);
        rig.send_raw(body).await;
        let dead_letter = rig.dead_letter().await;
        assert_eq!(dead_letter.reason, "argument");
        let found = "at message: invalid type: a string, expected a borrowed string";
        let fix = "; a text with escapes cannot be borrowed: take a `String`, or a `Cow<str>` with `#[serde(borrow)]`";
        assert!(
            dead_letter.error.contains(found) && dead_letter.error.ends_with(fix),
            "{}",
            dead_letter.error
        );
        finish(&listener).await;
    }
}

/// The fix for escapes is suggested only for strings.
#[tokio::test(start_paused = true)]
async fn a_number_in_place_of_a_borrowed_string_is_an_error_without_that_fix() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Borrows).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(r#"{"priority": "INFO", "payload": {"message": 5}}"#.to_owned()).await;
    let dead_letter = rig.dead_letter().await;
    let found = "invalid type: integer `5`, expected a borrowed string";
    assert!(dead_letter.error.contains(found), "{}", dead_letter.error);
    assert!(!dead_letter.error.contains("escapes"), "{}", dead_letter.error);
    finish(&listener).await;
}
