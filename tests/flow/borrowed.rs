//! Payloads that borrow their texts, with and without escapes.

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

/// A text as other writers of JSON escape it, and as it is.
const ESCAPED: [(&str, &str); 4] =
    [(r#"a \"b\"\nc"#, "a \"b\"\nc"), (r"\u00e9", "é"), (r"a\/b", "a/b"), ("plain", "plain")];

/// What `Faults` makes of a body.
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
async fn a_payload_borrows_texts_with_and_without_escapes_in_a_cow() {
    for (written_as, text) in ESCAPED {
        let body = format!(r#"{{"priority": "INFO", "payload": {{"message": "{written_as}"}}}}"#);
        assert_eq!(written(&body).await, text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_with_escapes_that_is_to_be_borrowed_is_told_with_a_fix() {
    for (written_as, _) in &ESCAPED[..3] {
        let rig = Rig::new();
        let listener = rig.builder().endpoint(Borrows).build().unwrap();
        listener.start().await.unwrap();
        let body = format!(r#"{{"priority": "INFO", "payload": {{"message": "{written_as}"}}}}"#);
        rig.send_raw(body).await;
        let letter = rig.dead_letter().await;
        assert_eq!(letter.reason, "argument");
        let found = "at message: invalid type: a string, expected a borrowed string";
        let fix = "; a text with escapes cannot be borrowed: take a `String`, or a `Cow<str>` with `#[serde(borrow)]`";
        assert!(letter.error.contains(found) && letter.error.ends_with(fix), "{}", letter.error);
        finish(&listener).await;
    }
}

/// What is no text at all is not told to be written otherwise.
#[tokio::test(start_paused = true)]
async fn a_number_in_place_of_a_borrowed_text_is_told_as_such() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Borrows).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(r#"{"priority": "INFO", "payload": {"message": 5}}"#.to_owned()).await;
    let letter = rig.dead_letter().await;
    let found = "invalid type: integer `5`, expected a borrowed string";
    assert!(letter.error.contains(found), "{}", letter.error);
    assert!(!letter.error.contains("escapes"), "{}", letter.error);
    finish(&listener).await;
}
