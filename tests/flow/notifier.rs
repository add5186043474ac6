//! What a notifier sends: priorities, topics, publisher ids, both envelope versions, compression; and
//! its errors.

use listener::{Compression, Context, EnvelopeVersion, Notifier, Priority};
use serde_json::{Value, json};

use crate::rig::Rig;

async fn inner(rig: &Rig, queue: &str) -> Value {
    let body = rig.take(queue).await.body;
    let outer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(outer["oslo.version"], "2.0");
    serde_json::from_str(outer["oslo.message"].as_str().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_method_sends_its_priority_to_its_queue() {
    let rig = Rig::new();
    let (notifier, ctxt) = (rig.notifier(), Context::new());
    notifier.audit(&ctxt, "x", &()).await.unwrap();
    notifier.debug(&ctxt, "x", &()).await.unwrap();
    notifier.info(&ctxt, "x", &()).await.unwrap();
    notifier.warn(&ctxt, "x", &()).await.unwrap();
    notifier.error(&ctxt, "x", &()).await.unwrap();
    notifier.critical(&ctxt, "x", &()).await.unwrap();
    notifier.sample(&ctxt, "x", &()).await.unwrap();
    for priority in Priority::ALL {
        let sent = inner(&rig, &format!("notifications.{priority}")).await;
        assert_eq!(sent["priority"], priority.wire());
        rig.assert_empty(&format!("notifications.{priority}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_notification_has_all_its_fields() {
    let rig = Rig::new();
    let context = Context::new().with("user", "u-1").with("roles", json!(["a"]));
    let other = rig.notifier().with_publisher_id("compute.host2");
    other.info(&context, "instance.create.end", &json!({"id": 1})).await.unwrap();
    let mut sent = inner(&rig, "notifications.info").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(text(&sent["message_id"]).len(), 36);
    assert_eq!(text(&sent["_unique_id"]).len(), 32);
    assert!(text(&sent["timestamp"]).starts_with("20"));
    for made in ["message_id", "_unique_id", "timestamp"] {
        sent[made] = Value::Null;
    }
    assert_eq!(
        sent,
        json!({
            "message_id": null, "_unique_id": null, "timestamp": null,
            "publisher_id": "compute.host2", "event_type": "instance.create.end",
            "priority": "INFO", "payload": {"id": 1},
            "_context_user": "u-1", "_context_roles": ["a"],
        })
    );
}

#[tokio::test(start_paused = true)]
async fn each_topic_gets_the_same_message_id_and_its_own_unique_id() {
    let rig = Rig::new();
    let builder = Notifier::builder(rig.transport.clone()).topic("one").topic("two");
    builder.build().unwrap().info(&Context::new(), "x", &()).await.unwrap();
    let (one, two) = (inner(&rig, "one.info").await, inner(&rig, "two.info").await);
    assert_eq!(one["message_id"], two["message_id"]);
    assert_ne!(one["_unique_id"], two["_unique_id"]);
    assert_eq!(one["publisher_id"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn version_1_is_the_bare_notification() {
    let rig = Rig::new();
    let builder = Notifier::builder(rig.transport.clone()).version(EnvelopeVersion::V1);
    builder.build().unwrap().warn(&Context::new(), "x", &"é").await.unwrap();
    let taken = rig.take("notifications.warn").await;
    let sent: Value = serde_json::from_slice(&taken.body).unwrap();
    assert_eq!((&sent["priority"], &sent["payload"]), (&json!("WARN"), &json!("é")));
    assert_eq!(taken.properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(taken.properties.content_encoding.as_deref(), Some("utf-8"));
    assert!(taken.properties.headers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_compressed_body_is_smaller_and_names_its_compression() {
    let rig = Rig::new();
    for (compression, label) in
        [(Compression::Zlib, "application/x-gzip"), (Compression::Bzip2, "application/x-bz2")]
    {
        let builder = Notifier::builder(rig.transport.clone()).compression(compression);
        let payload = "x".repeat(10_000);
        builder.build().unwrap().info(&Context::new(), "x", &payload).await.unwrap();
        let taken = rig.take("notifications.info").await;
        assert_eq!(taken.properties.headers.get_str("compression"), Some(label));
        assert!(taken.body.len() < 1000, "{}", taken.body.len());
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_sends_all_arrive_in_order() {
    let rig = Rig::new();
    let (notifier, ctxt) = (rig.notifier(), Context::new());
    let sends = (0..100).map(|number| {
        let (notifier, ctxt) = (&notifier, &ctxt);
        async move { notifier.info(ctxt, "x", &number).await }
    });
    let sent = futures_util::future::join_all(sends).await;
    assert!(sent.iter().all(Result::is_ok));
    for number in 0..100 {
        assert_eq!(inner(&rig, "notifications.info").await["payload"], number);
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_json_cannot_represent_is_an_error() {
    let rig = Rig::new();
    let pairs = std::collections::HashMap::from([((1, 2), 3)]);
    let error = rig.notifier().info(&Context::new(), "x", &pairs).await.unwrap_err();
    let text = "the notification cannot be written: payload cannot be written as json: key must be a string";
    assert_eq!(format!("{error:?}"), text);
    rig.assert_empty("notifications.info").await;
}

#[test]
fn an_empty_topic_does_not_build() {
    let transport = listener::Transport::open("memory://").unwrap();
    let error = Notifier::builder(transport).topic("").build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "a topic of the notifier is empty; expected a name such as \"notifications\""
    );
}

/// For an empty name a broker would generate one.
#[tokio::test]
async fn a_message_to_an_invalid_queue_name_is_refused() {
    use std::time::Duration;

    use listener::Transport;
    use listener::driver::{Outgoing, Route, SendError};

    let transport = Transport::open("memory://no-queue").unwrap();
    let delay = Duration::from_secs(1);
    for (name, expected) in [(String::new(), "is empty"), ("q".repeat(256), "has 256 bytes")] {
        for route in [
            Route::Queue(name.clone()),
            Route::Quarantine(name.clone()),
            Route::Delayed { queue: name.clone(), delay },
        ] {
            let sent = transport.send(Outgoing::new(route, "{}", delay)).await;
            let Err(SendError::Invalid { reason, .. }) = &sent else { panic!("{sent:?}") };
            assert!(reason.contains(expected), "{reason}");
        }
    }
    let longest = Route::Queue("q".repeat(255));
    transport.send(Outgoing::new(longest, "{}", delay)).await.unwrap();
}
