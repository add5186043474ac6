//! Our listener receives notifications of the Python notifier exactly as the Python listener does: the
//! same message, consumed through two pools.

use support::python_peer::{ListenerOptions, NotifierOptions, PythonListener, PythonNotifier};
use support::rabbit_node::{RabbitNode, oslo_url, shared};
use support::wait::wait_until;

use crate::collect::{Collector, SOON, from_python};
use crate::samples;

async fn check(vhost: &str, driver: &str, durable: bool) {
    let url = oslo_url(&shared().await.vhost(vhost).await);
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
async fn version_1_is_received_as_python_receives_it() {
    check("from-python-v1", "messaging", false).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn version_2_is_received_as_python_receives_it() {
    check("from-python-v2", "messagingv2", false).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn version_2_is_received_through_durable_queues() {
    check("from-python-durable", "messagingv2", true).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn compressed_bodies_are_received_as_python_receives_them() {
    for (compression, vhost) in [("gzip", "from-python-gzip"), ("bzip2", "from-python-bzip2")] {
        let url = oslo_url(&shared().await.vhost(vhost).await);
        let mut ours = Collector::start(&url, "rust").await;
        let options = NotifierOptions {
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

/// The default queues of oslo.messaging are lost when the broker restarts. The first program declares
/// them again, and the Python notifier is refused if they are durable then.
#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn queues_lost_with_the_broker_are_declared_again_as_python_expects() {
    let mut node = RabbitNode::start().await;
    let url = oslo_url(&node.url());
    let text =
        r#"{"ctxt": {}, "publisher_id": "p", "event_type": "x", "priority": "info", "payload": 1}"#;
    let options = NotifierOptions::default();
    PythonNotifier::start(&url, "messagingv2", &options).await.send(text).await;
    let mut ours = Collector::unpooled(&url).await;
    assert_eq!(ours.next().await["payload"], 1);

    node.kill().await;
    wait_until("readiness is lost", SOON, async || !ours.is_ready()).await;
    node.restart().await;
    wait_until("the listener is ready again", SOON, async || ours.is_ready()).await;
    let queues = node.ctl(&["list_queues", "name", "durable"]).await;
    assert!(queues.contains("notifications.info\tfalse"), "{queues}");

    PythonNotifier::start(&url, "messagingv2", &options).await.send(text).await;
    assert_eq!(ours.next().await["payload"], 1);
    ours.stop().await;
}
