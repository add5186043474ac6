//! What the driver declares, and when: in which order, as it was before a restart of the broker,
//! which options of the URL count, and what it says where something may not be declared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use listener::driver::{JournalAppend, LONGEST_DELAY};
use listener::queues::{dead_letter_queue, quarantine_journal, quarantine_queue};
use listener::{Listener, Outcome, Transport, notification_endpoint};
use serde_json::{Value, json};
use support::oslo_url;

use super::mistakes::user;
use super::*;

const DEAD: &str = "notifications.info.dead";

/// In bytes.
const LONGEST_POOL: usize = 241;

fn bindings(bindings: &[(&str, &str, &str)]) -> Subscription {
    let binding = |(exchange, routing_key, queue): &(&str, &str, &str)| {
        Binding::new(*exchange, *routing_key, *queue)
    };
    subscription(QUEUE).bindings(bindings.iter().map(binding).collect())
}

/// Whether a message that is published there reaches a queue.
async fn is_routed(amqp: &Amqp, exchange: &str, key: &str) -> bool {
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

async fn queue(node: &RabbitNode, vhost: &str, queue: &str) -> Value {
    node.api("GET", &format!("/api/queues/{vhost}/{queue}"), None).await
}

/// A virtual host whose queues are quorum queues where no type is named.
async fn vhost_of_quorum_queues(node: &RabbitNode, vhost: &str) -> String {
    let url = node.vhost(vhost).await;
    let quorum = json!({"default_queue_type": "quorum"});
    node.api("PUT", &format!("/api/vhosts/{vhost}"), Some(quorum)).await;
    url
}

/// The account of the guide for the pool `billing`.
async fn billing(node: &RabbitNode, vhost: &str) -> String {
    let (configure, write, read) =
        (r"^billing($|\.)", r"^(billing$|amq\.default$)", r"^(billing($|\.)|nova$)");
    oslo_url(&user(node, vhost, configure, write, read).await)
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_exchange_that_is_missing_and_may_not_be_declared_is_waited_for() {
    let node = support::shared().await;
    let url = billing(node, "least_missing").await;
    let pool = || bindings(&[("nova", QUEUE, "billing")]);
    // The queue exists by the second time.
    for _ in 0..2 {
        given_up(&url, pool(), "exchange \"nova\" does not exist").await;
    }
    let amqp = Amqp::connect(&node.vhost("least_missing").await).await;
    let later = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        amqp.declare_exchange("nova", false).await;
    };
    let driver = rabbit(&url);
    let (subscribed, ()) = tokio::join!(driver.subscribe(pool()), later);
    let subscribed = subscribed.expect("the exchange is there by now");
    assert!(is_routed(&amqp, "nova", QUEUE).await);
    subscribed.consumer.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_was_given_is_used_as_it_is_bound_though_our_exchange_is_missing() {
    let node = support::shared().await;
    let url = user(node, "given_queue", "^$", "^$", "^orders$").await;
    let amqp = Amqp::connect(&node.vhost("given_queue").await).await;
    amqp.declare_queue("orders", true, &[]).await;
    amqp.publish("", "orders", "one", BasicProperties::default()).await;
    let pool = bindings(&[("openstack", QUEUE, "orders")]);
    let mut subscribed = rabbit(&url).subscribe(pool).await.unwrap();
    let delivery = next(&mut subscribed).await;
    assert_eq!(delivery.body, "one");
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn while_one_exchange_is_missing_the_others_are_bound() {
    let node = support::shared().await;
    let url = user(node, "one_missing", "^billing", "^billing", ".*").await;
    let amqp = Amqp::connect(&node.vhost("one_missing").await).await;
    amqp.declare_exchange("nova", false).await;
    let pool = bindings(&[("cinder", QUEUE, "billing"), ("nova", QUEUE, "billing")]);
    given_up(&url, pool, "exchange \"cinder\" does not exist").await;
    assert!(is_routed(&amqp, "nova", QUEUE).await);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_exchange_that_vanished_and_may_not_be_declared_is_waited_for() {
    let node = support::shared().await;
    let url = billing(node, "least_vanished").await;
    let admin = node.vhost("least_vanished").await;
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", false).await;
    let driver = rabbit(&url);
    let subscribed = driver.subscribe(bindings(&[("nova", QUEUE, "billing")])).await.unwrap();
    // As with a restart of the broker; not every version forgets a transient exchange then.
    node.api("DELETE", "/api/exchanges/least_vanished/nova", None).await;
    let mut changes = subscribed.consumer.state();
    node.ctl(&["close_all_connections", "-p", "least_vanished", "restart"]).await;
    let is_told = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("exchange \"nova\" does not exist"));
    timeout(SOON, changes.wait_for(is_told)).await.expect("it is told").unwrap();
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", false).await;
    state(&subscribed, true).await;
    assert!(is_routed(&amqp, "nova", QUEUE).await);
    subscribed.consumer.close().await;
}

/// An account for the queues of the topic `notifications`, which may bind them to `nova`, but not
/// configure it: so the broker does not show whether it is durable.
async fn without_the_exchange(node: &RabbitNode, vhost: &str) -> String {
    let (configure, write, read) = (
        r"^notifications\.",
        r"^(notifications\.|nova$|amq\.default$)",
        r"^(notifications\.|nova$)",
    );
    oslo_url(&user(node, vhost, configure, write, read).await)
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_pools_queue_is_durable_where_it_does_not_show_what_the_deployment_has() {
    let node = support::shared().await;
    for (vhost, exchange) in [("hidden_pool", Some(true)), ("hidden_pool_missing", None)] {
        let url = billing(node, vhost).await;
        let amqp = Amqp::connect(&node.vhost(vhost).await).await;
        if let Some(durable) = exchange {
            amqp.declare_exchange("nova", durable).await;
        }
        let pool = bindings(&[("nova", QUEUE, "billing")]);
        if exchange.is_some() {
            rabbit(&url).subscribe(pool).await.expect("all that it needs is there");
        } else {
            given_up(&url, pool, "exchange \"nova\" does not exist").await;
        }
        assert_eq!(queue(node, vhost, "billing").await["durable"], true, "{vhost}");
    }
}

/// Declared transient in a durable deployment, it would keep services from publishing.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_shared_queue_is_not_declared_where_it_does_not_show_what_the_deployment_has() {
    let node = support::shared().await;
    let vhost = "hidden_shared";
    let url = without_the_exchange(node, vhost).await;
    let amqp = Amqp::connect(&node.vhost(vhost).await).await;
    // Its owner has not started yet.
    given_up(&url, subscription(QUEUE), "exchange \"nova\" does not exist").await;
    rabbit(&url).send(topic("one")).await.unwrap_err();
    assert_eq!(node.queues(vhost).await, [""; 0]);

    amqp.declare_exchange("nova", true).await;
    let expected = "set amqp_durable_queues (true or false) in the transport URL as the deployment's other services have it, or grant the permission to configure exchange \"nova\"";
    let error = refused(&url, subscription(QUEUE)).await;
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!error.is_transient());
    let error = rabbit(&url).send(topic("one")).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(node.queues(vhost).await, [""; 0]);

    // As a service of the deployment has declared the queue of another priority.
    amqp.declare_queue("notifications.error", true, &[]).await;
    subscribe(&rabbit(&url)).await.consumer.close().await;
    assert_eq!(queue(node, vhost, QUEUE).await["durable"], true);
    for (durable, missing) in [(true, "notifications.warn"), (false, "notifications.audit")] {
        let given = format!("{url}?amqp_durable_queues={durable}");
        let subscribed = rabbit(&given).subscribe(subscription(missing)).await.unwrap();
        assert_eq!(queue(node, vhost, missing).await["durable"], durable);
        subscribed.consumer.close().await;
    }
}

/// Of another exchange, while ours is missing.
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

/// Such declarations ask what exists: one that has vanished by then must not come back by them.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_is_asked_of_a_queue_or_an_exchange_declares_none() {
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

/// At the next start it would exist, and be taken for one that is bound.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_may_not_be_bound_is_not_declared() {
    let node = support::shared().await;
    let admin = Amqp::connect(&node.vhost("no_binding").await).await;
    admin.declare_exchange("nova", true).await;
    let url =
        user(node, "no_binding", "^(billing|notif)", "^(billing|notif|nova)", "^billing").await;
    let error = rabbit(&url).send(topic("one")).await.unwrap_err();
    assert!(error.to_string().contains("may not bind queue \"notifications.info\""), "{error}");
    assert_eq!(node.queues("no_binding").await, [""; 0]);
    for _ in 0..2 {
        match refused(&url, bindings(&[("nova", QUEUE, "billing")])).await {
            ConnectError::Forbidden { action, .. } => {
                assert_eq!(action, "bind queue \"billing\" to exchange \"nova\"");
            }
            other => panic!("{other}"),
        }
        assert_eq!(node.queues("no_binding").await, [""; 0]);
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn topic_permissions_that_do_not_allow_a_key_are_told_and_no_queue_is_declared() {
    const OTHER: &str = "notifications.error";
    let node = support::shared().await;
    for (vhost, exists) in [("topic_permissions", true), ("topic_permissions_missing", false)] {
        // RabbitMQ 4.3 has them for exchanges that exist.
        if !exists && node.version().await >= (4, 3) {
            continue;
        }
        let url = user(node, vhost, ".*", ".*", ".*").await;
        if exists {
            Amqp::connect(&node.vhost(vhost).await).await.declare_exchange("nova", true).await;
        }
        let may = json!({"exchange": "nova", "write": ".*", "read": r"^notifications\.info$"});
        node.api("PUT", &format!("/api/topic-permissions/{vhost}/user_{vhost}"), Some(may)).await;
        for _ in 0..2 {
            let pool = bindings(&[("nova", QUEUE, "billing"), ("nova", OTHER, "billing")]);
            let error = refused(&url, pool).await.to_string();
            let told = "may not bind queue \"billing\" to exchange \"nova\"";
            assert!(error.contains(told) && error.contains("set_topic_permissions"), "{error}");
            let route = Route::Topic { exchange: "nova".to_owned(), routing_key: OTHER.to_owned() };
            let error = rabbit(&url).send(to(route, "{}")).await.unwrap_err().to_string();
            assert!(error.contains("may not bind queue \"notifications.error\""), "{error}");
            assert_eq!(node.queues(vhost).await, [""; 0]);
        }
        let allowed = bindings(&[("nova", QUEUE, "billing")]);
        rabbit(&url).subscribe(allowed).await.unwrap().consumer.close().await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_was_seen_is_declared_as_it_was_after_a_restart() {
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
async fn dead_letters_survive_a_consumer_that_goes_whatever_the_options_say() {
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
async fn auto_delete_alone_in_the_url_is_all_that_is_compared() {
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
        difference: "auto_delete was asked to be true, and is false".to_owned(),
    };
    assert_eq!(refused(&asked, subscription(QUEUE)).await, expected);
}

/// The other queues of a deployment show the options that its programs declare with.
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
async fn what_is_missing_is_declared_with_the_arguments_of_what_exists() {
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

/// RabbitMQ 4.3 can be told to take no transient queues; 4.0 takes this setting as well.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_is_refused_leaves_no_exchange_behind() {
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

/// A virtual host's default type of queue is not shown, but decides.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_a_virtual_host_makes_a_quorum_queue_is_known_as_one() {
    let node = support::shared().await;
    if node.version().await < (4, 0) {
        return;
    }
    let url = vhost_of_quorum_queues(node, "default_quorum").await;
    let requeues = Requeues::default();
    let transport = Transport::open(&url).unwrap();
    let builder = Listener::builder().transport(transport).allow_requeue(true);
    let listener = builder.endpoint(requeues.clone()).build().unwrap();
    listener.start().await.unwrap();
    assert_eq!(queue(node, "default_quorum", QUEUE).await["type"], "quorum");
    let body = r#"{"event_type": "x", "priority": "INFO", "payload": 1}"#;
    rabbit(&url).send(topic(body)).await.unwrap();
    // RabbitMQ drops it when it was redelivered 20 times.
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
async fn a_dead_letter_may_be_looked_at_any_number_of_times() {
    let node = support::shared().await;
    let looked_at = node.vhost("looked_at").await;
    let quorum = vhost_of_quorum_queues(node, "looked_at_quorum").await;
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

/// 1 goes on until the connection was lost.
#[derive(Clone, Default)]
struct Waits(Arc<AtomicUsize>);

#[notification_endpoint(register = false, name = "waits")]
impl Waits {
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
    let waits = Waits::default();
    let tap = Listener::builder()
        .transport(Transport::open(&url).unwrap())
        .target(listener::Target::topic("notifications").exchange("nova"))
        .temporary_pool("tap", Duration::from_secs(2))
        .shutdown_timeout(Duration::from_millis(100))
        .endpoint(waits.clone())
        .build()
        .unwrap();
    tap.start().await.unwrap();
    let publish = async |body: &str| {
        let amqp = Amqp::connect(&url).await;
        amqp.publish("nova", QUEUE, body, BasicProperties::default()).await;
        amqp.close().await;
    };
    publish(r#"{"event_type": "x", "priority": "INFO", "payload": 1}"#).await;
    let calls = async |n| waits.0.load(Ordering::Relaxed) >= n;
    wait_until("it is begun", SOON, async || calls(1).await).await;
    // What was in hand is given out again.
    node.ctl(&["close_all_connections", "-p", vhost, "a test"]).await;
    wait_until("it is given out again", SOON, async || calls(2).await).await;
    publish("{").await;
    let dead = async || node.queue_depth(vhost, "tap.dead").await == Some(1);
    wait_until("the dead letter", SOON, dead).await;
    tap.stop().await;
    tap.wait().await.unwrap();
    let is_over = async || node.queue_depth(vhost, "tap").await.is_none();
    wait_until("the pool has expired", SOON, is_over).await;
    assert_eq!(node.queues(vhost).await, ["tap.dead"]);
}

/// Only its consumer binds it as well: at the next start it would be taken for one that is bound.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumed_queue_that_has_vanished_is_not_declared_for_a_copy() {
    let node = support::shared().await;
    let vhost = "vanished_unbound";
    let admin = node.vhost(vhost).await;
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue("billing", true, &[]).await;
    amqp.bind("billing", "nova", QUEUE).await;
    // It may declare the queue, and not bind it.
    let driver =
        rabbit(&user(node, vhost, "^billing", "^(billing|amq.default$)", "^billing").await);
    let subscribed = driver.subscribe(bindings(&[("nova", QUEUE, "billing")])).await.unwrap();
    let mut changes = subscribed.consumer.state();
    amqp.delete_queue("billing").await;
    let is_told = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("may not bind"));
    timeout(SOON, changes.wait_for(is_told)).await.expect("it is told").unwrap();
    let second = Duration::from_secs(1);
    for route in [
        Route::Queue("billing".to_owned()),
        Route::Delayed { queue: "billing".to_owned(), delay: second },
    ] {
        let copy = to(route, "{}").timeout(3 * second);
        let error = driver.send(copy).await.unwrap_err();
        assert!(error.to_string().contains("queue \"billing\" has vanished"), "{error}");
    }
    assert_eq!(node.queues(vhost).await, [""; 0]);
    // Whoever may bind it declares it again.
    amqp.declare_queue("billing", true, &[]).await;
    amqp.bind("billing", "nova", QUEUE).await;
    driver.send(to(Route::Queue("billing".to_owned()), "{}")).await.unwrap();
    subscribed.consumer.close().await;
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

/// RabbitMQ writes that a queue exists later than what is in it: a crash in the next moments would
/// take along what was confirmed.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_was_declared_for_a_message_settles_before_it_is_sent() {
    const SETTLES: Duration = Duration::from_millis(1900);
    let node = support::shared().await;
    let url = node.vhost("settles").await;
    let driver = rabbit(&url);
    let timed = async |driver: &Rabbit, outgoing| {
        let began = std::time::Instant::now();
        driver.send(outgoing).await.unwrap();
        began.elapsed()
    };
    assert!(timed(&driver, topic("one")).await >= SETTLES);
    // It is there already, for this process and for another.
    assert!(timed(&driver, topic("two")).await < SETTLES);
    assert!(timed(&rabbit(&url), topic("three")).await < SETTLES);
    // What is lost with the broker anyway does not wait.
    let transient = rabbit(&oslo_url(&node.vhost("settles_transient").await));
    assert!(timed(&transient, topic("one")).await < SETTLES);
    let append =
        || JournalAppend::new("notifications.quarantine.journal", Bytes::from_static(b"{}"), SOON);
    let began = std::time::Instant::now();
    driver.journal(append()).await.unwrap();
    assert!(began.elapsed() >= SETTLES);
    let began = std::time::Instant::now();
    rabbit(&url).journal(append()).await.unwrap();
    assert!(began.elapsed() < SETTLES);
}

/// A quorum queue may be forgotten with what was confirmed for it, as long as it is new: whoever
/// declares it to consume it waits before others can find it, and a notifier that finds it unused
/// waits as well.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_is_sent_to_a_quorum_queue_that_a_listener_has_just_declared_survives() {
    let mut node = RabbitNode::start().await;
    for round in 0..3 {
        let key = format!("round-{round}.info");
        let url = format!("{}?rabbit_quorum_queue=true", node.url());
        let subscribes = tokio::spawn({
            let (url, key) = (url.clone(), key.clone());
            async move { rabbit(&url).subscribe(subscription(&key)).await.map(drop) }
        });
        wait_until("it is declared", SOON, async || node.queue_depth("/", &key).await.is_some())
            .await;
        let route = Route::Topic { exchange: "openstack".to_owned(), routing_key: key.clone() };
        let driver = rabbit(&url);
        driver.send(to(route, "{}")).await.unwrap();
        // Whoever consumes it has not settled it.
        subscribes.abort();
        node.kill().await;
        node.restart().await;
        // Until it has a leader again it is shown as empty.
        let is_there = async || node.queue_depth("/", &key).await == Some(1);
        wait_until(&format!("{key} holds it"), Duration::from_secs(20), is_there).await;
    }
}

/// Who put a letter there had waited until the queue had settled.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_dead_letter_queue_with_a_letter_in_it_is_relied_on_at_once() {
    let node = support::shared().await;
    let url = node.vhost("settled").await;
    let dead = || to(Route::Queue(DEAD.to_owned()), "{}");
    rabbit(&url).send(dead()).await.unwrap();
    assert_eq!(node.queue_depth("settled", DEAD).await, Some(1));
    let began = std::time::Instant::now();
    rabbit(&url).send(dead()).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

/// As full as the broker keeps it: the runtime waits ten seconds for what others have recorded.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_full_journal_is_read_in_time() {
    const JOURNAL: &str = "q.quarantine.journal";
    let node = support::shared().await;
    let url = node.vhost("full journal").await;
    let driver = rabbit(&url);
    let entry = json!({
        "process": "0123456789abcdef0123456789abcdef", "number": 1, "begin": [1234567890123456789_u64],
        "settled": [9876543210987654321_u64],
    })
    .to_string();
    let append = |read_from: Option<u64>| {
        JournalAppend::new(JOURNAL, Bytes::from(format!("{read_from:?}")), Duration::from_secs(10))
            .read_from(read_from)
    };
    driver.journal(append(None)).await.unwrap();
    let amqp = Amqp::connect(&url).await;
    let properties = BasicProperties::default;
    let sends = (0..45_000).map(|_| amqp.publish("", JOURNAL, &entry, properties()));
    futures_util::stream::iter(sends).buffer_unordered(500).count().await;
    amqp.close().await;
    let read = driver.journal(append(Some(0))).await.unwrap();
    assert!(read.entries.len() > 20_000, "{}", read.entries.len());
    assert!(read.next > 45_000, "{}", read.next);
}

/// RabbitMQ makes of the virtual host, the queue and more the name of one directory for a stream.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_journal_of_the_longest_pool_takes_entries_also_in_a_virtual_host_with_a_long_name() {
    let node = support::shared().await;
    let pool = "p".repeat(LONGEST_POOL);
    let journal = quarantine_journal(&pool);
    for vhost in ["longest".to_owned(), "v".repeat(60)] {
        let driver = rabbit(&node.vhost(&vhost).await);
        let append =
            JournalAppend::new(journal.clone(), Bytes::from_static(b"{}"), Duration::from_secs(10))
                .read_from(Some(0));
        let read = driver.journal(append).await.unwrap();
        assert_eq!(read.entries, ["{}"]);
        // The other queues beside it take messages, too.
        for route in [
            Route::Quarantine(quarantine_queue(&pool)),
            Route::Queue(dead_letter_queue(&pool)),
            Route::Delayed { queue: pool.clone(), delay: LONGEST_DELAY },
        ] {
            driver.send(to(route, "{}")).await.unwrap();
        }
    }
}
