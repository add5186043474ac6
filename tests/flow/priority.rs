//! The priority of a notification: that of the body, else that of the routing key. Without either it is
//! a dead letter, or acknowledged by a lenient listener.

use listener::driver::{HeaderValue, Headers, Properties};
use listener::options::OnUnknownPriority;
use listener::{Context, Listener, MemoryInbox, Metadata, Priority, State, notification_endpoint};

use crate::rig::{Log, Rig, finish};

struct LogsPriority;

#[notification_endpoint(register = false)]
impl LogsPriority {
    #[on(info, warn, sample)]
    async fn called(&self, priority: Priority, event_type: &str, log: State<Log>) {
        let _ = log.send(format!("{priority} {event_type}"));
    }
}

async fn seen(listener: &Listener, rig: &mut Rig, routing_key: &str, body: &str) -> Vec<String> {
    listener.start().await.unwrap();
    rig.send_by(routing_key, body.to_owned()).await;
    finish(listener).await;
    rig.seen_so_far()
}

async fn is_called(routing_key: &str, body: &str, expected: &str) {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(LogsPriority).build().unwrap();
    assert_eq!(seen(&listener, &mut rig, routing_key, body).await, [expected], "{body}");
}

#[tokio::test(start_paused = true)]
async fn the_routing_key_decides_when_the_body_has_no_known_priority() {
    is_called("notifications.info", r#"{"event_type":"a.b","payload":{"id":1}}"#, "info a.b").await;
    is_called("notifications.warn", r#"{"event_type":"a.b","priority":null}"#, "warn a.b").await;
    is_called("notifications.warn", r#"{"event_type":"a.b","priority":"WARNING"}"#, "warn a.b")
        .await;
    for priority in ["3", "true", r#"["INFO"]"#, r#"{"level":1}"#] {
        let body = format!(r#"{{"event_type":"a.b","priority":{priority}}}"#);
        is_called("notifications.warn", &body, "warn a.b").await;
    }
    is_called(
        "notifications.sample",
        r#"{"oslo.version":"2.0","oslo.message":"{\"event_type\":\"a.b\",\"payload\":{}}"}"#,
        "sample a.b",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_priority_of_the_body_overrides_the_routing_key() {
    is_called("notifications.info", r#"{"event_type":"a.b","priority":"Warn"}"#, "warn a.b").await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_priority_of_the_routing_key() {
    struct Once;

    #[notification_endpoint(register = false)]
    impl Once {
        async fn sample(
            &self,
            attempt: listener::Attempt,
            log: State<Log>,
        ) -> Result<(), &'static str> {
            let _ = log.send(format!("call {}", attempt.0));
            if attempt.0 == 1 { Err("not yet") } else { Ok(()) }
        }
    }

    let mut rig = Rig::new();
    let listener = rig.builder().pool("tap").endpoint(Once).build().unwrap();
    listener.start().await.unwrap();
    rig.send_by("notifications.sample", r#"{"event_type":"a.b"}"#).await;
    assert_eq!([rig.seen().await, rig.seen().await], ["call 1", "call 2"]);
    finish(&listener).await;
}

/// The dead letter of a body that is put directly into the queue of a pool, so that its routing key has
/// no priority either.
async fn dead_letter(body: &'static str) -> (String, String) {
    let rig = Rig::new();
    let listener = rig.builder().pool("tap").endpoint(LogsPriority).build().unwrap();
    listener.start().await.unwrap();
    rig.put("tap", body).await;
    let dead_letter = rig.take("tap.dead").await;
    finish(&listener).await;
    assert_eq!(dead_letter.body, body);
    let header =
        |name| dead_letter.properties.headers.get_str(name).unwrap_or("missing").to_owned();
    (header("listener-reason"), header("listener-error"))
}

#[tokio::test(start_paused = true)]
async fn a_notification_without_any_priority_is_a_dead_letter() {
    for (body, error) in [
        (
            r#"{"event_type":"a.b"}"#,
            "the body has no `priority`, and the routing key \"tap\" does not end in one \
             (expected audit, debug, info, warn, error, critical or sample)",
        ),
        (
            r#"{"event_type":"a.b","priority":"LOUD"}"#,
            "unknown priority \"LOUD\" in the body, and the routing key \"tap\" does not end in one \
             (expected audit, debug, info, warn, error, critical or sample)",
        ),
    ] {
        assert_eq!(dead_letter(body).await, ("unknown-priority".to_owned(), error.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn json_that_is_not_a_notification_is_a_dead_letter_whatever_its_routing_key() {
    for body in [
        "{}",
        r#"{"id":1,"item":"tea"}"#,
        r#"{"id":1,"priority":"high"}"#,
        r#"{"typeURI":"http://schemas/event","eventType":"activity","action":"create"}"#,
        r#"{"request":{"oslo.version":"2.0"},"context":{}}"#,
    ] {
        let rig = Rig::new();
        let listener = rig.builder().endpoint(LogsPriority).build().unwrap();
        listener.start().await.unwrap();
        rig.send_raw(body).await;
        let dead_letter = rig.dead_letter().await;
        finish(&listener).await;
        assert_eq!(dead_letter.body, body);
        assert_eq!(
            (dead_letter.reason.as_str(), dead_letter.error.as_str()),
            (
                "unknown-priority",
                "the body is not a notification: it has no known `priority`, no `event_type`, no \
                 `payload` and no `oslo.message`"
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lenient_listener_acknowledges_an_unknown_priority_like_oslo_messaging() {
    for body in ["{}", r#"{"priority":"LOUD"}"#, r#"{"event_type":"a.b","payload":1}"#] {
        let mut rig = Rig::new();
        let lenient = OnUnknownPriority::Acknowledge;
        let listener =
            rig.builder().on_unknown_priority(lenient).endpoint(LogsPriority).build().unwrap();
        assert_eq!(seen(&listener, &mut rig, "notifications.info", body).await, [""; 0]);
        rig.assert_empty("notifications.info").await;
        rig.assert_empty("notifications.info.dead").await;
    }
}

/// A notification of both versions, as oslo.messaging's AMQP 1.0 driver wraps it.
const WRAPPED: [&str; 2] = [
    r#"{"oslo.version":"2.0","oslo.message":"{\"priority\":\"warn\",\"event_type\":\"a.b\",\"payload\":{}}"}"#,
    r#"{"priority":"warn","event_type":"a.b","payload":{}}"#,
];

#[tokio::test(start_paused = true)]
async fn an_envelope_inside_a_request_is_unwrapped() {
    for request in WRAPPED {
        for others in ["", r#","context":{}"#, r#","context":null,"call_monitor_timeout":5"#] {
            let body = format!(r#"{{"request":{request}{others}}}"#);
            is_called("notifications.warn", &body, "warn a.b").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_context_of_a_request_becomes_that_of_the_notification() {
    struct Mine;

    #[notification_endpoint(register = false, context(project = "^a"))]
    impl Mine {
        async fn warn(&self, ctxt: &Context, log: State<Log>) {
            let _ =
                log.send(format!("{:?} {:?}", ctxt.get_str("project"), ctxt.get_str("user_id")));
        }
    }

    for request in WRAPPED {
        let mut rig = Rig::new();
        let listener = rig.builder().endpoint(Mine).build().unwrap();
        let body = |project: &str| {
            format!(
                r#"{{"request":{request},"context":{{"project":"{project}","user_id":"u\"1"}}}}"#
            )
        };
        listener.start().await.unwrap();
        rig.send_by("notifications.warn", body("b1")).await;
        rig.send_by("notifications.warn", body("a1")).await;
        finish(&listener).await;
        assert_eq!(rig.seen_so_far(), [r#"Some("a1") Some("u\"1")"#]);
        rig.assert_empty("notifications.warn.dead").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_envelope_without_a_version_is_a_dead_letter_that_names_the_missing_key() {
    let envelope = r#"{"oslo_version":"2.0","oslo.message":"{\"event_type\":\"a.b\"}"}"#;
    for body in [envelope.to_owned(), format!(r#"{{"request":{envelope},"context":{{}}}}"#)] {
        let rig = Rig::new();
        let listener = rig.builder().endpoint(LogsPriority).build().unwrap();
        listener.start().await.unwrap();
        rig.send_raw(body).await;
        let dead_letter = rig.dead_letter().await;
        finish(&listener).await;
        assert_eq!(
            (dead_letter.reason.as_str(), dead_letter.error.as_str()),
            ("undecodable", "the body has `oslo.message` and no `oslo.version` (expected \"2.0\")")
        );
    }
}

struct Texts;

#[notification_endpoint(register = false)]
impl Texts {
    async fn info(
        &self,
        publisher_id: &str,
        event_type: &str,
        metadata: &Metadata,
        log: State<Log>,
    ) {
        let (message_id, timestamp) = (metadata.message_id(), metadata.timestamp());
        let _ = log.send(format!("{message_id} {timestamp} {publisher_id} {event_type}"));
    }
}

#[tokio::test(start_paused = true)]
async fn values_of_other_types_in_string_fields_are_read_as_json_text() {
    for [message_id, timestamp, publisher_id, event_type] in [
        ["42", "1700000000.25", "7", "-1"],
        [r#""m""#, r#"{"$date": 1}"#, r#"{"host":"h"}"#, "false"],
    ] {
        let mut rig = Rig::new();
        let listener = rig.builder().endpoint(Texts).build().unwrap();
        let body = format!(
            r#"{{"priority":"INFO","message_id":{message_id},"timestamp":{timestamp},"publisher_id":{publisher_id},"event_type":{event_type},"payload":1}}"#
        );
        assert_eq!(
            seen(&listener, &mut rig, "notifications.info", &body).await,
            [format!("{} {timestamp} {publisher_id} {event_type}", message_id.trim_matches('"'))]
        );
    }
}

/// An inbox would take all of them for the same notification.
#[tokio::test(start_paused = true)]
async fn a_message_id_that_is_neither_a_string_nor_a_number_is_ignored() {
    for message_id in ["[]", "{}", "false", r#"["x"]"#] {
        let mut rig = Rig::new();
        let builder = rig.builder().inbox(MemoryInbox::new(100));
        let listener = builder.endpoint(Texts).build().unwrap();
        for event_type in ["one", "two"] {
            let body = format!(
                r#"{{"priority":"INFO","message_id":{message_id},"timestamp":"t","publisher_id":"p","event_type":"{event_type}","payload":1}}"#
            );
            let texts = seen(&listener, &mut rig, "notifications.info", &body).await;
            assert_eq!(texts, [format!(" t p {event_type}")], "{message_id}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_without_a_priority_names_the_pending_methods() {
    let rig = Rig::new();
    let listener = rig.builder().pool("tap").endpoint(LogsPriority).build().unwrap();
    listener.start().await.unwrap();
    let mut headers = Headers::default();
    let pending = HeaderValue::Array(vec!["billing::info".into()]);
    headers.insert("listener-methods", pending.clone());
    let body = r#"{"event_type":"x","payload":1}"#.into();
    rig.put_with("tap", body, Properties::default().headers(headers)).await;
    let dead_letter = rig.take("tap.dead").await;
    finish(&listener).await;
    assert_eq!(dead_letter.properties.headers.get_str("listener-reason"), Some("unknown-priority"));
    assert_eq!(dead_letter.properties.headers.get("listener-methods"), Some(&pending));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_no_method_was_called_for_keeps_its_attempts() {
    for (body, reason) in
        [(r#"{"event_type":"x","payload":1}"#, "unknown-priority"), ("{", "undecodable")]
    {
        let rig = Rig::new();
        let listener = rig.builder().pool("tap").endpoint(LogsPriority).build().unwrap();
        listener.start().await.unwrap();
        let mut headers = Headers::default();
        headers.insert("listener-attempts", HeaderValue::Int64(3));
        rig.put_with("tap", body.into(), Properties::default().headers(headers)).await;
        let headers = rig.take("tap.dead").await.properties.headers;
        finish(&listener).await;
        assert_eq!(headers.get_str("listener-reason"), Some(reason));
        assert_eq!(headers.get("listener-attempts"), Some(&HeaderValue::Int64(3)), "{reason}");
    }
}

/// The notifications of a notifier always have a priority.
#[tokio::test(start_paused = true)]
async fn a_lenient_listener_handles_notifications_with_a_priority() {
    let mut rig = Rig::new();
    let lenient = OnUnknownPriority::Acknowledge;
    let listener =
        rig.builder().on_unknown_priority(lenient).endpoint(LogsPriority).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "a.b", &1).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["info a.b"]);
}
