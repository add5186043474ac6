//! What the driver declares, in which order and with which arguments: also after a restart of the
//! broker, and with options of the URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::BasicProperties;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use listener::{Listener, Outcome, Transport, notification_endpoint};
use serde_json::{Value, json};
use support::oslo_url;

use super::*;

pub(super) const DEAD: &str = "notifications.info.dead";

pub(super) fn bindings(bindings: &[(&str, &str, &str)]) -> Subscription {
    let binding = |(exchange, routing_key, queue): &(&str, &str, &str)| {
        Binding::new(*exchange, *routing_key, *queue)
    };
    subscription(QUEUE).bindings(bindings.iter().map(binding).collect())
}

/// Whether a message published to this exchange with this key reaches a queue.
pub(super) async fn is_routed(amqp: &Amqp, exchange: &str, key: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default();
    let sent =
        amqp.channel().basic_publish(exchange.into(), key.into(), options, b"{}", properties);
    matches!(sent.await.unwrap().await.unwrap(), lapin::Confirmation::Ack(None))
}

async fn exchanges(node: &RabbitNode, vhost: &str) -> Vec<Value> {
    let all = node.api("GET", &format!("/api/exchanges/{vhost}"), None).await;
    all.as_array().unwrap().clone()
}

async fn is_durable_exchange(node: &RabbitNode, vhost: &str, exchange: &str) -> bool {
    let all = exchanges(node, vhost).await;
    all.iter().find(|found| found["name"] == exchange).unwrap()["durable"] == true
}

pub(super) async fn queue(node: &RabbitNode, vhost: &str, queue: &str) -> Value {
    node.api("GET", &format!("/api/queues/{vhost}/{queue}"), None).await
}

/// A virtual host whose default queue type is quorum.
async fn vhost_with_quorum_queues(node: &RabbitNode, vhost: &str) -> String {
    let url = node.vhost(vhost).await;
    let quorum = json!({"default_queue_type": "quorum"});
    node.api("PUT", &format!("/api/vhosts/{vhost}"), Some(quorum)).await;
    url
}

/// The other queue belongs to another exchange; its own is missing.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_of_another_priority_shows_that_the_deployment_is_durable() {
    let node = support::shared().await;
    let admin = node.vhost("other_priority").await;
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_queue("notifications.error", true, &[]).await;
    subscribe(&rabbit(&oslo_url(&admin))).await.consumer.close().await;
    assert_eq!(queue(node, "other_priority", QUEUE).await["durable"], true);
    assert!(is_durable_exchange(node, "other_priority", "nova").await);
}

/// Such declarations only probe: a queue that was deleted meanwhile must not be created by them.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn probing_a_queue_or_an_exchange_declares_nothing() {
    let node = support::shared().await;
    let url = node.vhost("asked").await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let kind = |name| ("x-queue-type", text(name));
    let last = ("x-queue-leader-locator", text("?"));
    let all = [vec![kind("?")], vec![last.clone()], vec![kind("quorum"), last]];
    for (durable, arguments) in
        [true, false].into_iter().flat_map(|is| all.clone().map(|a| (is, a)))
    {
        let mut table = FieldTable::default();
        for (name, value) in &arguments {
            table.insert((*name).into(), value.clone());
        }
        let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
        // Each refusal closes its channel.
        let amqp = Amqp::connect(&url).await;
        let declared = amqp.channel().queue_declare("q".into(), options, table);
        let refused = declared.await.unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("PRECONDITION_FAILED"), "{text}");
    }
    for durable in [true, false] {
        let mut table = FieldTable::default();
        table.insert("alternate-exchange".into(), AMQPValue::LongInt(0));
        let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
        let topic = lapin::ExchangeKind::Topic;
        let amqp = Amqp::connect(&url).await;
        let declared = amqp.channel().exchange_declare("e".into(), topic, options, table);
        let refused = declared.await.unwrap_err();
        assert!(refused.to_string().contains("alternate-exchange"), "{refused}");
    }
    assert_eq!(node.queues("asked").await, [""; 0]);
    assert!(exchanges(node, "asked").await.iter().all(|exchange| exchange["name"] != "e"));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn transient_queues_and_exchanges_are_declared_unchanged_after_a_restart() {
    let mut node = support::rabbit_node::harmed().await;
    let mut all = Vec::new();
    for (vhost, is_oslo) in [("seen_oslo", true), ("seen_amqp", false)] {
        let url = node.vhost(vhost).await;
        let amqp = Amqp::connect(&url).await;
        for (exchange, key, durable) in [("nova", QUEUE, false), ("heat", "heat.info", true)] {
            amqp.declare_exchange(exchange, durable).await;
            amqp.declare_queue(key, durable, &[]).await;
            amqp.bind(key, exchange, key).await;
        }
        amqp.close().await;
        let driver = rabbit(&if is_oslo { oslo_url(&url) } else { url });
        let both = bindings(&[("nova", QUEUE, QUEUE), ("heat", "heat.info", "heat.info")]);
        let subscribed = driver.subscribe(both).await.unwrap();
        all.push((vhost, driver, subscribed));
    }
    node.stop().await;
    for (_, _, subscribed) in &all {
        state(subscribed, false).await;
    }
    node.restart().await;
    for (vhost, _, subscribed) in all {
        state(&subscribed, true).await;
        for (exchange, key, durable) in [("nova", QUEUE, false), ("heat", "heat.info", true)] {
            let found = is_durable_exchange(&node, vhost, exchange).await;
            assert_eq!(found, durable, "{vhost}: {exchange}");
            assert_eq!(queue(&node, vhost, key).await["durable"], durable, "{vhost}: {key}");
        }
        subscribed.consumer.close().await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn dead_letter_queues_are_not_auto_deleted_whatever_the_options_say() {
    let node = support::shared().await;
    let url = node.vhost("dead_stays").await;
    let options = "?amqp_durable_queues=true&amqp_auto_delete=true";
    let rabbit = rabbit(&format!("{}{options}", oslo_url(&url)));
    rabbit.send(to(Route::Queue(DEAD.to_owned()), "{}")).await.unwrap();
    let amqp = Amqp::connect(&url).await;
    let options = BasicConsumeOptions::default();
    let consumer =
        amqp.channel().basic_consume(DEAD.into(), "look".into(), options, FieldTable::default());
    let tag = consumer.await.unwrap().tag();
    amqp.channel().basic_cancel(tag, BasicCancelOptions::default()).await.unwrap();
    amqp.close().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.queue_depth("dead_stays", DEAD).await, Some(1));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn with_only_auto_delete_in_the_url_no_other_argument_is_compared() {
    let node = support::shared().await;
    let admin = node.vhost("auto_delete_alone").await;
    Amqp::connect(&admin).await.declare_exchange("nova", true).await;
    let url = format!("{}?amqp_auto_delete=false", oslo_url(&admin));
    for _ in 0..2 {
        let subscribed = rabbit(&url).subscribe(subscription(QUEUE)).await.unwrap();
        subscribed.consumer.close().await;
    }
    let asked = format!("{}?amqp_auto_delete=true", oslo_url(&admin));
    let expected = ConnectError::Mismatch {
        what: format!("queue {QUEUE:?}"),
        difference: "auto_delete was requested to be true, and is false".to_owned(),
    };
    assert_eq!(refused(&asked, subscription(QUEUE)).await, expected);
}

/// The existing queues and exchanges of a deployment show with which options its services declare.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_exchange_of_any_kind_shows_that_the_deployment_is_durable() {
    let node = support::shared().await;
    let other = ("alternate-exchange", AMQPValue::LongString("other".into()));
    for (vhost, kind, argument) in [
        ("durable_fanout", lapin::ExchangeKind::Fanout, None),
        ("durable_headers", lapin::ExchangeKind::Headers, None),
        ("durable_alternate", lapin::ExchangeKind::Topic, Some(other)),
    ] {
        let admin = node.vhost(vhost).await;
        let amqp = Amqp::connect(&admin).await;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        if let Some((name, value)) = argument {
            arguments.insert(name.into(), value);
        }
        let channel = amqp.channel();
        channel.exchange_declare("nova".into(), kind, options, arguments).await.unwrap();
        let pool = bindings(&[("nova", QUEUE, "billing")]);
        let subscribed = rabbit(&oslo_url(&admin)).subscribe(pool).await.unwrap();
        assert_eq!(queue(node, vhost, "billing").await["durable"], true, "{vhost}");
        subscribed.consumer.close().await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_missing_queue_is_declared_with_the_arguments_of_existing_ones() {
    let node = support::shared().await;
    let admin = node.vhost("arguments").await;
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", true).await;
    let arguments = [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-delivery-limit", AMQPValue::LongInt(7)),
        ("x-max-in-memory-length", AMQPValue::LongInt(1000)),
        ("x-max-in-memory-bytes", AMQPValue::LongInt(100_000)),
    ];
    amqp.declare_queue(QUEUE, true, &arguments).await;
    let missing = "notifications.error";
    rabbit(&oslo_url(&admin)).subscribe(subscription(missing)).await.unwrap();
    let found = queue(node, "arguments", missing).await;
    let limits = json!({
        "x-queue-type": "quorum",
        "x-delivery-limit": 7,
        "x-max-in-memory-length": 1000,
        "x-max-in-memory-bytes": 100_000,
    });
    assert_eq!(found["arguments"], limits);

    let admin = node.vhost("arguments_auto_delete").await;
    let amqp = Amqp::connect(&admin).await;
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    let topic = lapin::ExchangeKind::Topic;
    let declared =
        amqp.channel().exchange_declare("nova".into(), topic, options, FieldTable::default());
    declared.await.unwrap();
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    let declared = amqp.channel().queue_declare(QUEUE.into(), options, FieldTable::default());
    declared.await.unwrap();
    let driver = rabbit(&oslo_url(&admin));
    let both = bindings(&[("nova", missing, missing), ("heat", missing, missing)]);
    let _subscribed = driver.subscribe(both).await.unwrap();
    let found = queue(node, "arguments_auto_delete", missing).await;
    assert_eq!((&found["durable"], &found["auto_delete"]), (&json!(false), &json!(true)));
    let all = exchanges(node, "arguments_auto_delete").await;
    let heat = all.iter().find(|found| found["name"] == "heat").unwrap();
    assert_eq!((&heat["durable"], &heat["auto_delete"]), (&json!(false), &json!(true)));
}

/// RabbitMQ 4.3 can be configured to deny transient queues; 4.0 has this setting as well.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_refused_queue_leaves_no_exchange_behind() {
    let mut node = RabbitNode::start().await;
    if node.version().await < (4, 0) {
        return;
    }
    node.configure("deprecated_features.permit.transient_nonexcl_queues = false");
    node.restart().await;
    let url = oslo_url(&node.vhost("refused").await);
    refused(&url, subscription(QUEUE)).await;
    rabbit(&url).send(topic("one")).await.unwrap_err();
    let all = exchanges(&node, "refused").await;
    assert!(all.iter().all(|found| found["name"] != "nova"), "{all:?}");
    let durable = format!("{url}?amqp_durable_queues=true");
    subscribe(&rabbit(&durable)).await.consumer.close().await;
    assert!(is_durable_exchange(&node, "refused", "nova").await);
}

/// The default queue type of a virtual host is not visible, but applies.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quorum_queue_by_default_of_the_virtual_host_is_recognized() {
    let node = support::shared().await;
    if node.version().await < (4, 0) {
        return;
    }
    let url = vhost_with_quorum_queues(node, "default_quorum").await;
    let requeues = Requeues::default();
    let transport = Transport::open(&url).unwrap();
    let builder = Listener::builder().transport(transport).allow_requeue(true);
    let listener = builder.endpoint(requeues.clone()).build().unwrap();
    listener.start().await.unwrap();
    assert_eq!(queue(node, "default_quorum", QUEUE).await["type"], "quorum");
    let body = r#"{"event_type": "x", "priority": "INFO", "payload": 1}"#;
    rabbit(&url).send(topic(body)).await.unwrap();
    // RabbitMQ drops it after 20 redeliveries.
    let all = async || requeues.0.load(Ordering::Relaxed) == REQUEUES + 1;
    wait_until("it is handled", SOON, all).await;
    listener.stop().await;
    listener.wait().await.unwrap();
}

const REQUEUES: usize = 30;

#[derive(Clone, Default)]
struct Requeues(Arc<AtomicUsize>);

#[notification_endpoint(register = false, name = "requeues")]
impl Requeues {
    async fn info(&self) -> Outcome {
        let calls = self.0.fetch_add(1, Ordering::Relaxed);
        if calls < REQUEUES { Outcome::Requeue } else { Outcome::Handled }
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_dead_letter_can_be_inspected_any_number_of_times() {
    let node = support::shared().await;
    let looked_at = node.vhost("looked_at").await;
    let quorum = vhost_with_quorum_queues(node, "looked_at_quorum").await;
    let options = "?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=7";
    for (vhost, url, options, kind) in
        [("looked_at", looked_at, options, "quorum"), ("looked_at_quorum", quorum, "", "classic")]
    {
        let driver = rabbit(&format!("{url}{options}"));
        driver.send(to(Route::Queue(DEAD.to_owned()), "{}")).await.unwrap();
        assert_eq!(queue(node, vhost, DEAD).await["type"], kind);
        for _ in 0..25 {
            let ask = json!({"count": 1, "ackmode": "reject_requeue_true", "encoding": "auto"});
            let path = format!("/api/queues/{vhost}/{DEAD}/get");
            let found = node.api("POST", &path, Some(ask)).await;
            assert_eq!(found.as_array().map(Vec::len), Some(1), "{vhost}");
        }
    }
}

/// The first call for the payload 1 runs until the connection is lost.
#[derive(Clone, Default)]
struct WaitsOnce(Arc<AtomicUsize>);

#[notification_endpoint(register = false, name = "waits_once")]
impl WaitsOnce {
    async fn info(&self, payload: u32) {
        let calls = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if (payload, calls) == (1, 1) {
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_temporary_pool_leaves_its_dead_letters_and_nothing_else() {
    let node = support::shared().await;
    let vhost = "temporary";
    let url = node.vhost(vhost).await;
    let waits_once = WaitsOnce::default();
    let tap = Listener::builder()
        .transport(Transport::open(&url).unwrap())
        .target(listener::Target::topic("notifications").exchange("nova"))
        .temporary_pool("tap", Duration::from_secs(2))
        .shutdown_timeout(Duration::from_millis(100))
        .endpoint(waits_once.clone())
        .build()
        .unwrap();
    tap.start().await.unwrap();
    let publish = async |body: &str| {
        let amqp = Amqp::connect(&url).await;
        amqp.publish("nova", QUEUE, body, BasicProperties::default()).await;
        amqp.close().await;
    };
    publish(r#"{"event_type": "x", "priority": "INFO", "payload": 1}"#).await;
    let calls = async |n| waits_once.0.load(Ordering::Relaxed) >= n;
    wait_until("the first call", SOON, async || calls(1).await).await;
    // Deliveries in flight are redelivered.
    node.ctl(&["close_all_connections", "-p", vhost, "a test"]).await;
    wait_until("the second call", SOON, async || calls(2).await).await;
    publish("{").await;
    let dead = async || node.queue_depth(vhost, "tap.dead").await == Some(1);
    wait_until("the dead letter", SOON, dead).await;
    tap.stop().await;
    tap.wait().await.unwrap();
    let is_over = async || node.queue_depth(vhost, "tap").await.is_none();
    wait_until("the pool has expired", SOON, is_over).await;
    assert_eq!(node.queues(vhost).await, ["tap.dead"]);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_stream_is_refused_as_a_work_queue() {
    let node = support::shared().await;
    let url = node.vhost("stream").await;
    let amqp = Amqp::connect(&url).await;
    let stream = ("x-queue-type", AMQPValue::LongString("stream".into()));
    amqp.declare_queue(QUEUE, true, &[stream]).await;
    let expected = "queue \"notifications.info\" is a stream; expected a classic or quorum queue";
    for url in [oslo_url(&url), url.clone(), format!("{url}?amqp_auto_delete=false")] {
        let error = refused(&url, subscription(QUEUE)).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.is_transient());
    }
}
