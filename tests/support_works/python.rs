//! The Python peers with each other: oslo.messaging receives what it sent, and its errors become panics.

use std::time::Duration;

use lapin::types::AMQPValue;
use serde_json::{Value, json};
use support::{Amqp, ListenerOptions, NotifierOptions, PythonListener, PythonNotifier, shared};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
#[ignore = "needs oslo.messaging"]
async fn both_drivers_carry_a_notification_unchanged() {
    for driver in ["messaging", "messagingv2"] {
        let url = shared().await.vhost(driver).await;
        let mut listener = PythonListener::start(&url, &ListenerOptions::default()).await;
        let mut notifier = PythonNotifier::start(&url, driver, &NotifierOptions::default()).await;
        for priority in ["audit", "debug", "info", "warn", "error", "critical", "sample"] {
            notifier
                .send(&json!({
                    "ctxt": {"user": "u1"},
                    "publisher_id": "compute.host1",
                    "event_type": "instance.create",
                    "priority": priority,
                    "payload": {"name": "größe", "big": u64::MAX},
                }))
                .await;
            let mut seen: Value = serde_json::from_str(&listener.next(SOON).await).unwrap();
            let metadata = seen["metadata"].take();
            assert!(metadata["message_id"].is_string() && metadata["timestamp"].is_string());
            assert_eq!(
                seen,
                json!({
                    "priority": priority,
                    "ctxt": {"user": "u1", "client_timeout": null},
                    "publisher_id": "compute.host1",
                    "event_type": "instance.create",
                    "payload": {"name": "größe", "big": u64::MAX},
                    "metadata": null,
                })
            );
        }
        assert_eq!(listener.try_next(Duration::from_millis(200)).await, None);
        listener.stop().await;
        assert_eq!(shared().await.queue_depth(driver, "notifications.info").await, Some(0));
    }
}

#[tokio::test]
#[ignore = "needs oslo.messaging"]
async fn json_that_only_python_accepts_is_carried() {
    for driver in ["messaging", "messagingv2"] {
        let payload = format!(
            r#"{{"nan": NaN, "low": -Infinity, "lone": "\ud800", "big": 123456789012345678901234567890, "long": "{}"}}"#,
            "x".repeat(1 << 20)
        );
        let url = shared().await.vhost(&format!("wild {driver}")).await;
        let mut listener = PythonListener::start(&url, &ListenerOptions::default()).await;
        let mut notifier = PythonNotifier::start(&url, driver, &NotifierOptions::default()).await;
        notifier.send(&notification(&payload)).await;
        let seen = listener.next(SOON).await;
        assert!(seen.contains(&format!(r#""payload": {payload}, "metadata""#)), "{driver}");
    }
}

#[tokio::test]
#[ignore = "needs oslo.messaging"]
async fn options_reach_the_broker() {
    let node = shared().await;
    let url = node.vhost("options").await;
    let topics = vec!["one".to_owned(), "two".to_owned()];
    let exchange = Some("nova".to_owned());
    let mut listener = PythonListener::start(
        &url,
        &ListenerOptions {
            topics: topics.clone(),
            exchange: exchange.clone(),
            pool: Some("everything".into()),
            durable: true,
            rabbit: vec![("rabbit_quorum_queue".into(), "true".into())],
            ..ListenerOptions::default()
        },
    )
    .await;
    let options = NotifierOptions {
        topics,
        exchange,
        durable: true,
        rabbit: vec![
            ("rabbit_quorum_queue".into(), "true".into()),
            ("kombu_compression".into(), "gzip".into()),
        ],
    };
    let mut notifier = PythonNotifier::start(&url, "messaging", &options).await;
    notifier.send(&notification("0")).await;
    for _ in ["one", "two"] {
        listener.next(SOON).await;
    }
    let queue = node.api("GET", "/api/queues/options/everything", None).await;
    assert_eq!((&queue["type"], &queue["durable"]), (&json!("quorum"), &json!(true)));
    let waiting = Amqp::connect(&url).await.drain("two.info").await;
    let headers = waiting[0].properties.headers().clone().unwrap_or_default();
    let zlib = AMQPValue::LongString("application/x-gzip".into());
    assert_eq!(headers.inner().get("compression"), Some(&zlib));
}

#[tokio::test]
#[ignore = "needs oslo.messaging"]
#[should_panic(expected = "Could not send notification")]
async fn a_notification_that_is_not_sent_is_a_panic() {
    let url = shared().await.vhost("failing").await;
    // The documented name is unknown to the underlying library.
    let rabbit = vec![("kombu_compression".into(), "bz2".into())];
    let options = NotifierOptions { rabbit, ..NotifierOptions::default() };
    let mut notifier = PythonNotifier::start(&url, "messaging", &options).await;
    notifier.send(&notification("0")).await;
}

fn notification(payload: &str) -> String {
    format!(
        r#"{{"ctxt": {{}}, "publisher_id": "p", "event_type": "e", "priority": "info", "payload": {payload}}}"#
    )
}
