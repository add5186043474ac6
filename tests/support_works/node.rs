//! The private node: messages survive its crash, it can be suspended and resumed, and its queue depths
//! are exact. That it leaves nothing behind is tested in `processes.rs`.

use std::time::Duration;

use lapin::types::AMQPValue;
use serde_json::json;
use support::amqp::oslo_properties;
use support::{Amqp, RabbitNode, shared};
use tokio::time::timeout;

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_persistent_message_survives_kill_and_stop() {
    let mut node = RabbitNode::start().await;
    let amqp = Amqp::connect(&node.url()).await;
    amqp.declare_queue("kept", true, &[]).await;
    amqp.publish("", "kept", b"here", oslo_properties(&[])).await;

    let port = node.port();
    node.kill().await;
    assert_eq!(node.vm_pid(), None);
    node.restart().await;
    assert_eq!(node.queue_depth("/", "kept").await, Some(1));
    node.stop().await;
    node.restart().await;
    assert_eq!(node.port(), port);

    let kept = Amqp::connect(&node.url()).await.drain("kept").await;
    assert_eq!(kept.iter().map(|message| message.data.as_slice()).collect::<Vec<_>>(), [b"here"]);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_suspended_node_answers_when_it_is_resumed() {
    let node = RabbitNode::start().await;
    let amqp = Amqp::connect(&node.url()).await;
    amqp.declare_queue("slow", true, &[]).await;

    node.suspend().await;
    let mut publish = Box::pin(amqp.publish("", "slow", b"late", oslo_properties(&[])));
    let early = timeout(Duration::from_secs(1), &mut publish).await;
    node.resume().await;
    timeout(Duration::from_secs(20), publish).await.unwrap();
    assert!(early.is_err(), "a suspended node confirmed a message");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_depth_counts_ready_and_unacknowledged_of_both_queue_types() {
    let node = shared().await;
    let amqp = Amqp::connect(&node.vhost("depth and more").await).await;
    for (queue, kind) in [("classic", "classic"), ("quorum", "quorum")] {
        assert_eq!(node.queue_depth("depth and more", queue).await, None);
        let kind = AMQPValue::LongString(kind.into());
        amqp.declare_queue(queue, true, &[("x-queue-type", kind)]).await;
        for _ in 0..3 {
            amqp.publish("", queue, b"", oslo_properties(&[])).await;
        }
        // Without an acknowledgement the message still counts.
        amqp.channel().basic_get(queue.into(), Default::default()).await.unwrap().unwrap();
        assert_eq!(node.queue_depth("depth and more", queue).await, Some(3), "{queue}");
    }
    amqp.delete_queue("classic").await;
    assert_eq!(node.queue_depth("depth and more", "classic").await, None);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_api_answers_and_applies_changes() {
    let node = shared().await;
    node.vhost("api").await;
    let queue = json!({"durable": true, "arguments": {"x-max-length": 5}});
    node.api("PUT", "/api/queues/api/made", Some(queue)).await;
    let made = node.api("GET", "/api/queues/api/made", None).await;
    // RabbitMQ 4 adds the type of the queue.
    assert_eq!(made["arguments"]["x-max-length"], json!(5), "{made}");
    let users = node.ctl(&["list_users"]).await;
    assert!(users.contains("guest"), "{users}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
#[should_panic(expected = "404 not found")]
async fn the_api_panics_on_a_refusal() {
    shared().await.api("GET", "/api/queues/%2F/absent", None).await;
}
