//! The priority of a notification: the body's, else the routing key's; what has neither is a dead
//! letter, or acknowledged where the listener is lenient.

use std::time::Duration;

use listener::runtime::options::OnUnknownPriority;
use listener::transport::delivery::Properties;
use listener::transport::driver::{Outgoing, Route};
use listener::{Context, Listener, Priority, State, notification_endpoint};

use crate::rig::{Log, Rig, finish};

struct Called;

#[notification_endpoint(register = false)]
impl Called {
    #[on(info, warn, sample)]
    async fn called(&self, priority: Priority, event_type: &str, log: State<Log>) {
        let _ = log.send(format!("{priority} {event_type}"));
    }
}

/// Sends a body to a topic exchange.
async fn send(rig: &Rig, routing_key: &str, body: &'static str) {
    let route =
        Route::Topic { exchange: "openstack".to_owned(), routing_key: routing_key.to_owned() };
    let outgoing = Outgoing {
        route,
        body: body.into(),
        properties: Properties::default(),
        timeout: Duration::from_secs(3600),
    };
    rig.transport.send(outgoing).await.unwrap();
}

async fn seen(
    listener: &Listener,
    rig: &mut Rig,
    routing_key: &str,
    body: &'static str,
) -> Vec<String> {
    listener.start().await.unwrap();
    send(rig, routing_key, body).await;
    finish(listener).await;
    rig.seen_so_far()
}

async fn is_called(routing_key: &str, body: &'static str, expected: &str) {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Called).build().unwrap();
    assert_eq!(seen(&listener, &mut rig, routing_key, body).await, [expected], "{body}");
}

#[tokio::test(start_paused = true)]
async fn the_routing_key_decides_where_the_body_has_no_known_priority() {
    is_called("notifications.info", r#"{"event_type":"a.b","payload":{"id":1}}"#, "info a.b").await;
    is_called("notifications.warn", r#"{"event_type":"a.b","priority":null}"#, "warn a.b").await;
    is_called("notifications.warn", r#"{"event_type":"a.b","priority":"WARNING"}"#, "warn a.b")
        .await;
    is_called("notifications.warn", r#"{"event_type":"a.b","priority":3}"#, "warn a.b").await;
    is_called(
        "notifications.sample",
        r#"{"oslo.version":"2.0","oslo.message":"{\"event_type\":\"a.b\",\"payload\":{}}"}"#,
        "sample a.b",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_priority_of_the_body_goes_before_the_routing_key() {
    is_called("notifications.info", r#"{"event_type":"a.b","priority":"Warn"}"#, "warn a.b").await;
}

#[tokio::test(start_paused = true)]
async fn a_retried_copy_keeps_the_priority_of_the_routing_key() {
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
    send(&rig, "notifications.sample", r#"{"event_type":"a.b"}"#).await;
    assert_eq!([rig.seen().await, rig.seen().await], ["call 1", "call 2"]);
    finish(&listener).await;
}

/// The dead letter that becomes of a body which is put straight into the queue of a pool, so that
/// its routing key has no priority either.
async fn dead_letter(body: &'static str) -> (String, String) {
    let rig = Rig::new();
    let listener = rig.builder().pool("tap").endpoint(Called).build().unwrap();
    listener.start().await.unwrap();
    rig.put("tap", body).await;
    let letter = rig.take("tap.dead").await;
    finish(&listener).await;
    assert_eq!(letter.body, body);
    let header = |name| letter.properties.headers.text(name).unwrap_or("missing").to_owned();
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
async fn what_is_json_and_no_notification_is_a_dead_letter_whatever_its_routing_key() {
    for body in [
        "{}",
        r#"{"id":1,"item":"tea"}"#,
        r#"{"id":1,"priority":"high"}"#,
        r#"{"typeURI":"http://schemas/event","eventType":"activity","action":"create"}"#,
        r#"{"request":{"oslo.version":"2.0"},"context":{}}"#,
    ] {
        let rig = Rig::new();
        let listener = rig.builder().endpoint(Called).build().unwrap();
        listener.start().await.unwrap();
        rig.send_raw(body).await;
        let letter = rig.dead_letter().await;
        finish(&listener).await;
        assert_eq!(letter.body, body);
        assert_eq!(
            (letter.reason.as_str(), letter.error.as_str()),
            (
                "unknown-priority",
                "the body is not a notification: it has no known `priority`, no `event_type`, no \
                 `payload` and no `oslo.message`"
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lenient_listener_acknowledges_an_unknown_priority_as_oslo_does() {
    for body in ["{}", r#"{"priority":"LOUD"}"#, r#"{"event_type":"a.b","payload":1}"#] {
        let mut rig = Rig::new();
        let lenient = OnUnknownPriority::Lenient;
        let listener = rig.builder().on_unknown_priority(lenient).endpoint(Called).build().unwrap();
        assert_eq!(seen(&listener, &mut rig, "notifications.info", body).await, [""; 0]);
        rig.assert_empty("notifications.info").await;
        rig.assert_empty("notifications.info.dead").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_envelope_within_a_request_is_opened() {
    is_called(
        "notifications.warn",
        r#"{"request":{"oslo.version":"2.0","oslo.message":"{\"priority\":\"warn\",\"event_type\":\"a.b\",\"payload\":{}}"},"context":{}}"#,
        "warn a.b",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn numbers_for_message_id_and_timestamp_are_read_as_text() {
    is_called(
        "notifications.info",
        r#"{"event_type":"a.b","priority":"INFO","message_id":42,"timestamp":1700000000.25,"payload":1}"#,
        "info a.b",
    )
    .await;
}

/// A notifier's own notifications have a priority, so nothing of this concerns them.
#[tokio::test(start_paused = true)]
async fn a_lenient_listener_takes_what_has_a_priority() {
    let mut rig = Rig::new();
    let lenient = OnUnknownPriority::Lenient;
    let listener = rig.builder().on_unknown_priority(lenient).endpoint(Called).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "a.b", &1).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["info a.b"]);
}
