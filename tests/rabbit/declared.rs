//! What the driver declares, and when: in which order, as it was before a restart of the broker,
//! which options of the URL count, and what it says where something may not be declared.

use lapin::options::BasicPublishOptions;
use serde_json::Value;
use support::oslo_url;

use super::mistakes::user;
use super::*;

fn bindings(bindings: &[(&str, &str, &str)]) -> Subscription {
    let binding = |(exchange, routing_key, queue): &(&str, &str, &str)| Binding {
        exchange: (*exchange).to_owned(),
        routing_key: (*routing_key).to_owned(),
        queue: (*queue).to_owned(),
    };
    Subscription { bindings: bindings.iter().map(binding).collect(), ..subscription(QUEUE) }
}

/// Whether a message that is published there reaches a queue.
async fn is_routed(amqp: &Amqp, exchange: &str, key: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = lapin::BasicProperties::default();
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
        let error = refused(&url, Subscription { timeout: Duration::from_secs(3), ..pool() }).await;
        let text = error.to_string();
        assert!(text.contains("exchange \"nova\" does not exist"), "{text}");
        assert!(error.is_transient());
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
async fn an_exchange_that_vanished_and_may_not_be_declared_is_waited_for() {
    let mut node = support::rabbit_node::harmed().await;
    let url = billing(&node, "least_vanished").await;
    let admin = node.vhost("least_vanished").await;
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", false).await;
    let driver = rabbit(&url);
    let subscribed = driver.subscribe(bindings(&[("nova", QUEUE, "billing")])).await.unwrap();
    node.restart().await;
    let mut changes = subscribed.consumer.state();
    let is_told = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("exchange \"nova\" does not exist"));
    timeout(SOON, changes.wait_for(is_told)).await.expect("it is told").unwrap();
    let amqp = Amqp::connect(&admin).await;
    amqp.declare_exchange("nova", false).await;
    state(&subscribed, true).await;
    assert!(is_routed(&amqp, "nova", QUEUE).await);
    subscribed.consumer.close().await;
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
