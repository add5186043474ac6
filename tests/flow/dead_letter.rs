//! Dead letters: undecodable bodies and mismatched payloads, with the body untouched, and what happens
//! while a dead letter cannot be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use listener::driver::Route;
use listener::driver::SendError;
use listener::driver::{HeaderValue, Headers, Properties};
use listener::{Context, Listener, State, notification_endpoint};
use serde::Deserialize;

use crate::rig::{Log, Rig, finish};
use crate::sending::sending;

struct Numbers;

#[derive(Deserialize)]
struct Payload {
    flavor: Flavor,
}

#[derive(Deserialize)]
struct Flavor {
    vcpus: u32,
}

#[notification_endpoint(register = false)]
impl Numbers {
    async fn info(&self, payload: Payload, log: State<Log>) {
        let _ = log.send(payload.flavor.vcpus.to_string());
    }
}

async fn check(body: &'static str, reason: &str, error: &str) {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Numbers).build().unwrap();
    listener.start().await.unwrap();
    rig.send_raw(body).await;
    let dead_letter = rig.dead_letter().await;
    finish(&listener).await;
    assert_eq!((dead_letter.reason.as_str(), dead_letter.error.as_str()), (reason, error));
    assert_eq!(dead_letter.body, body);
    assert_eq!(rig.seen_so_far(), [""; 0]);
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_a_json_object_is_undecodable() {
    check("", "undecodable", "body is empty (expected an object)").await;
    check("[1]", "undecodable", "body is a list (expected an object)").await;
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_envelope_is_undecodable() {
    check(
        r#"{"oslo.version": "3.0", "oslo.message": "{}"}"#,
        "undecodable",
        r#"envelope version "3.0" is not supported (expected "2.0")"#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_mismatched_payload_is_reported_by_its_path_without_its_value() {
    check(
        r#"{"priority": "INFO", "payload": {"flavor": {"vcpus": "hunter2"}}}"#,
        "argument",
        "flow::dead_letter::Numbers::info: argument `payload`, at flavor.vcpus: invalid type: a string, expected u32 at line 1 column 30",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_headers_of_the_original_are_kept_and_its_origin_is_added() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Numbers).build().unwrap();
    listener.start().await.unwrap();
    let mut headers = Headers::default();
    headers.insert("tenant", HeaderValue::Int64(7));
    // RabbitMQ would route by this header, and put the dead letter back into the original queue.
    headers.insert("CC", HeaderValue::Array(vec!["notifications.info".into()]));
    let properties = Properties::default()
        .content_type(Some("text/plain".into()))
        .content_encoding(Some("latin-1".into()))
        .headers(headers);
    rig.send_with("hello", properties).await;
    let dead_letter = rig.take("notifications.info.dead").await;
    finish(&listener).await;
    assert_eq!(dead_letter.body, "hello");
    assert_eq!(dead_letter.properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(dead_letter.properties.content_encoding.as_deref(), Some("latin-1"));
    let headers: Vec<_> = dead_letter
        .properties
        .headers
        .iter()
        .filter(|(name, _)| !name.ends_with("-time"))
        .map(|(name, value)| (name, value.clone()))
        .collect();
    assert_eq!(
        headers,
        [
            ("tenant", HeaderValue::Int64(7)),
            ("listener-queue", "notifications.info".into()),
            ("listener-exchange", "openstack".into()),
            ("listener-routing-key", "notifications.info".into()),
            ("listener-reason", "undecodable".into()),
            (
                "listener-error",
                r#"content type "text/plain" is not supported (expected "application/json")"#
                    .into()
            ),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn headers_too_large_for_a_dead_letter_are_dropped_with_a_note() {
    let rig = Rig::new();
    let listener = rig.builder().endpoint(Numbers).build().unwrap();
    listener.start().await.unwrap();
    let mut headers = Headers::default();
    headers.insert("large", HeaderValue::Array(vec![HeaderValue::Int64(1); 15_000]));
    rig.send_with("hello", Properties::default().headers(headers)).await;
    let dead_letter = rig.take("notifications.info.dead").await;
    finish(&listener).await;
    assert_eq!(dead_letter.properties.headers.get("large"), None);
    assert_eq!(
        dead_letter.properties.headers.get_str("listener-headers"),
        Some("too large to be kept")
    );
    assert_eq!(dead_letter.properties.headers.get_str("listener-reason"), Some("undecodable"));
}

/// A listener whose broker refuses its first dead letters.
fn full(rig: &Rig, refusals: usize) -> (Listener, Arc<AtomicUsize>) {
    let refusals = Arc::new(AtomicUsize::new(refusals));
    let left = Arc::clone(&refusals);
    let transport = sending(&rig.transport, move |below, outgoing| {
        let is_queue = matches!(outgoing.route, Route::Queue(_));
        let is_refused = is_queue && left.load(Ordering::SeqCst) > 0;
        if is_refused {
            left.fetch_sub(1, Ordering::SeqCst);
        }
        async move {
            if is_refused {
                return Err(SendError::Refused { route: outgoing.route.to_string() });
            }
            below.send(outgoing).await
        }
    });
    (rig.builder_on(transport).endpoint(Numbers).build().unwrap(), refusals)
}

#[tokio::test(start_paused = true)]
async fn a_refused_dead_letter_is_sent_again_with_growing_pauses() {
    let rig = Rig::new();
    let (listener, refusals) = full(&rig, 4);
    listener.start().await.unwrap();
    let began = tokio::time::Instant::now();
    rig.notifier().info(&Context::new(), "x", &"no numbers").await.unwrap();
    assert_eq!(rig.dead_letter().await.reason, "argument");
    assert_eq!(refusals.load(Ordering::SeqCst), 0);
    assert_eq!(began.elapsed(), Duration::from_millis(500 + 1000 + 2000 + 4000));
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_dead_letter_cannot_be_sent_is_released_at_a_stop() {
    let rig = Rig::new();
    let (listener, _) = full(&rig, usize::MAX);
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &"no numbers").await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    let original = rig.take("notifications.info").await;
    assert!(String::from_utf8_lossy(&original.body).contains("no numbers"));
    rig.assert_empty("notifications.info.dead").await;
}
