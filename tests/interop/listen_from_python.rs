//! What Python's notifier sends arrives here as it does at Python's own listener: the same
//! message, taken through two pools side by side.

use support::python_peer::{ListenerOptions, NotifierOptions, PythonListener, PythonNotifier};
use support::rabbit_node::shared;

use crate::collect::{Collector, SOON, from_python};
use crate::samples;

async fn check(vhost: &str, driver: &str, durable: bool) {
    let url = shared().await.vhost(vhost).await;
    let options = ListenerOptions {
        pool: Some("python".to_owned()),
        mapped: true,
        durable,
        ..ListenerOptions::default()
    };
    let mut python = PythonListener::start(&url, &options).await;
    let mut ours = Collector::start(&url, "rust").await;
    let options = NotifierOptions { durable, ..NotifierOptions::default() };
    let mut notifier = PythonNotifier::start(&url, driver, &options).await;
    for sample in samples::all() {
        notifier.send(&sample.text).await;
        let expected = from_python(&python.next(SOON).await);
        let found = ours.next().await;
        assert!(found == expected, "{}: {found} is not {expected}", sample.name);
    }
    ours.stop().await;
    python.stop().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn version_1_arrives_as_python_receives_it() {
    check("from-python-v1", "messaging", false).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn version_2_arrives_as_python_receives_it() {
    check("from-python-v2", "messagingv2", false).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn version_2_arrives_through_durable_queues() {
    check("from-python-durable", "messagingv2", true).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn compressed_bodies_arrive_as_python_receives_them() {
    for (compression, vhost) in [("gzip", "from-python-gzip"), ("bzip2", "from-python-bzip2")] {
        let url = shared().await.vhost(vhost).await;
        let mut ours = Collector::start(&url, "rust").await;
        let options = NotifierOptions {
            durable: true,
            rabbit: vec![("kombu_compression".to_owned(), compression.to_owned())],
            ..NotifierOptions::default()
        };
        let mut notifier = PythonNotifier::start(&url, "messagingv2", &options).await;
        let text = r#"{"ctxt": {"a": 1}, "publisher_id": "p", "event_type": "x", "priority": "info", "payload": ["é"]}"#;
        notifier.send(text).await;
        let found = ours.next().await;
        assert_eq!(found["payload"], serde_json::json!(["é"]), "{compression}: {found}");
        ours.stop().await;
    }
}
