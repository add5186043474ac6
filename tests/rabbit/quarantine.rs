//! Quarantine queues: each is consumed over its own connection, with its own delivery limit, and its
//! faults do not affect the work queues.

use lapin::types::AMQPValue;
use support::{Proxy, Toxics};

use super::*;

const QUARANTINE: &str = "notifications.info.quarantine";

/// RabbitMQ closes the connection of a consumer of a quorum queue without a majority after about a
/// minute.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quarantine_queue_without_a_majority_ends_no_session() {
    let mut nodes = support::cluster().await;
    let url = nodes[0].url();
    let amqp = Amqp::connect(&url).await;
    let quorum = [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-quorum-initial-group-size", AMQPValue::LongInt(3)),
    ];
    amqp.declare_queue(QUARANTINE, true, &quorum).await;
    let publish = async |queue, body: &str| {
        amqp.publish("", queue, body, lapin::BasicProperties::default()).await;
    };
    publish(QUARANTINE, "first").await;
    let quarantine = vec![QUARANTINE.to_owned()];
    let subscription = subscription(QUEUE).quarantine(quarantine);
    // Subscribes before, because RabbitMQ 4.3 declares and binds nothing without a majority.
    let mut subscribed = rabbit(&url).subscribe(subscription).await.unwrap();
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    wait_until("it is settled", SOON, async || {
        nodes[0].queue_depth("/", QUARANTINE).await == Some(0)
    })
    .await;
    for node in &mut nodes[1..] {
        node.kill().await;
    }
    let mut changes = subscribed.consumer.state();
    changes.mark_unchanged();
    // It is consumed again.
    assert_eq!(nodes[0].eval(&close_connections("/", "quarantine")).await.trim(), "[ok]");
    for number in 0..90 {
        publish(QUEUE, &number.to_string()).await;
        let delivery = next(&mut subscribed).await;
        assert_eq!(delivery.body, number.to_string());
        delivery.settle(Settle::Ack).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        subscribed.consumer.recheck_quarantine_queues();
    }
    assert!(!changes.has_changed().unwrap(), "{:?}", *changes.borrow());

    // Once it has a majority it is consumed.
    for node in &mut nodes[1..] {
        node.restart().await;
    }
    publish(QUARANTINE, "last").await;
    let last = next(&mut subscribed).await;
    assert_eq!((&*last.info.queue, &*last.body), (QUARANTINE, &b"last"[..]));
    last.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(nodes[0].queue_depth("/", QUARANTINE).await, Some(0));
}

/// An existing queue keeps its limit; one that the driver declares has none, also not a default one.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quarantine_queue_has_its_own_delivery_limit() {
    const LIMITED: &str = "notifications.error.quarantine";
    let node = support::shared().await;
    let url = node.vhost("quarantine-limit").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    let limited = [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-delivery-limit", AMQPValue::LongInt(8)),
    ];
    amqp.declare_queue(LIMITED, true, &limited).await;
    for queue in [LIMITED, QUARANTINE] {
        rabbit.send(to(Route::Quarantine(queue.to_owned()), "{}")).await.unwrap();
    }
    let quarantine = vec![LIMITED.to_owned(), QUARANTINE.to_owned()];
    let subscription = subscription(QUEUE).quarantine(quarantine);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    // By default the limit is 20 from RabbitMQ 4.0 on.
    let (mut limited, mut unlimited) = (0, 0);
    while limited < 5 || unlimited < 12 {
        let delivery = next(&mut subscribed).await;
        let returned = match &*delivery.info.queue {
            LIMITED => &mut limited,
            _ => &mut unlimited,
        };
        let is_near = *delivery.info.queue == *LIMITED && *returned >= 4;
        assert_eq!(delivery.is_near_limit(), is_near, "{returned} {:?}", delivery.info);
        if is_near {
            delivery.settle(Settle::Ack).unwrap();
            *returned = 5;
        } else {
            *returned += 1;
            delivery.settle(Settle::Requeue).unwrap();
        }
    }
    subscribed.consumer.close().await;
    assert_eq!(node.queue_depth("quarantine-limit", LIMITED).await, Some(0));
}

/// Its messages cannot be renewed in time; the work queues are not affected.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quarantine_queue_that_drops_redeliveries_is_logged() {
    const DROPPING: &str = "notifications.error.quarantine";
    let node = support::shared().await;
    let url = node.vhost("quarantine-without-returns").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    let limited = [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-delivery-limit", AMQPValue::LongInt(0)),
    ];
    amqp.declare_queue(DROPPING, true, &limited).await;
    rabbit.send(to(Route::Quarantine(DROPPING.to_owned()), "{}")).await.unwrap();
    let (buffer, _guard) = permissions::logged();
    let subscription = subscription(QUEUE).quarantine(vec![DROPPING.to_owned()]);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let delivery = next(&mut subscribed).await;
    assert_eq!(&*delivery.info.queue, DROPPING);
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    let log = buffer.text();
    assert!(
        log.contains("drops every message of this quarantine queue that is redelivered"),
        "{log}"
    );
}

/// Only the end of the session tells the listener that its deliveries are redelivered elsewhere.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_connection_of_a_quarantine_queue_ends_the_session_only_during_a_delivery() {
    const VHOST: &str = "quarantine-connection";
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost(VHOST).await);
    let quarantined = || to(Route::Quarantine(QUARANTINE.to_owned()), "{}");
    rabbit.send(quarantined()).await.unwrap();
    let quarantine = vec![QUARANTINE.to_owned()];
    let subscription = subscription(QUEUE).quarantine(quarantine);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let mut changes = subscribed.consumer.state();
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    wait_until("it is settled", SOON, async || {
        node.queue_depth(VHOST, QUARANTINE).await == Some(0)
    })
    .await;
    let close = close_connections(VHOST, "quarantine");
    changes.mark_unchanged();
    assert_eq!(node.eval(&close).await.trim(), "[ok]");
    rabbit.send(quarantined()).await.unwrap();
    let held = next(&mut subscribed).await;
    assert!(!changes.has_changed().unwrap(), "{:?}", *changes.borrow());

    assert_eq!(node.eval(&close).await.trim(), "[ok]");
    let is_lost = |state: &ConnectionState| matches!(state, ConnectionState::Lost { .. });
    timeout(SOON, changes.wait_for(is_lost)).await.expect("the loss is reported").unwrap();
    assert!(held.settle(Settle::Ack).is_err(), "an old session accepts no settlement");
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(node.queue_depth(VHOST, QUARANTINE).await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_timeout_of_a_quarantine_queue_is_reported_like_any_other() {
    let node = RabbitNode::start().await;
    for (name, milliseconds) in [("consumer_timeout", 1000), ("channel_tick_interval", 500)] {
        let set = format!("application:set_env(rabbit, {name}, {milliseconds})");
        node.eval(&set).await;
    }
    let rabbit = rabbit(&node.url());
    rabbit.send(to(Route::Quarantine(QUARANTINE.to_owned()), "{}")).await.unwrap();
    let quarantine = vec![QUARANTINE.to_owned()];
    let subscription = subscription(QUEUE).quarantine(quarantine);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let mut changes = subscribed.consumer.state();
    let held = next(&mut subscribed).await;
    let is_reported = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("set a shorter handler_timeout"));
    timeout(SOON, changes.wait_for(is_reported)).await.expect("the timeout is reported").unwrap();
    assert!(held.settle(Settle::Ack).is_err(), "an old session accepts no settlement");
    // On a busy machine a second is too short.
    node.eval("application:set_env(rabbit, consumer_timeout, 600000)").await;
    let settled = async {
        while node.queue_depth("/", QUARANTINE).await != Some(0) {
            let second = Duration::from_secs(1);
            if let Ok(delivery) = timeout(second, subscribed.deliveries.recv()).await {
                let _ = delivery.unwrap().settle(Settle::Ack);
            }
        }
    };
    timeout(SOON, settled).await.expect("the message is settled");
    state(&subscribed, true).await;
    // The deletion of a quarantine queue is not a fault.
    let amqp = Amqp::connect(&node.url()).await;
    amqp.delete_queue(QUARANTINE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(*subscribed.consumer.state().borrow(), ConnectionState::Attached);
    subscribed.consumer.close().await;
}

/// Over a slow link the broker has started the consumer of a quarantine queue, and its answer is in
/// transit, when the driver abandons the consumer.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_abandoned_before_it_is_confirmed_is_cancelled() {
    const VHOST: &str = "late";
    let node = support::shared().await;
    let proxy = Proxy::start(node.port()).await;
    let url = node.vhost(VHOST).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    // Its connection takes a while to be established, too.
    let rabbit = rabbit(&(through + "?connection_timeout=60000"));
    let quarantine = vec![QUARANTINE.to_owned()];
    let both = subscription(QUEUE).quarantine(quarantine);
    let subscribed = rabbit.subscribe(both).await.unwrap();
    let amqp = Amqp::connect(&url).await;
    amqp.declare_queue(QUARANTINE, true, &[]).await;
    let consumers = async || {
        let consumers = format!(
            r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{VHOST}">>, queue, <<"{QUARANTINE}">>)),
               [{{consumers, Count}}] = rabbit_amqqueue:info(Q, [consumers]), Count"#
        );
        node.eval(&consumers).await.trim().to_owned()
    };
    // The broker allows 10 s for a handshake.
    proxy.toxics(Toxics { latency: Duration::from_secs(1), ..Toxics::default() });
    subscribed.consumer.recheck_quarantine_queues();
    wait_until("the broker has started the consumer", SOON, async || consumers().await == "1")
        .await;
    subscribed.consumer.cancel().await;
    wait_until("the consumer is cancelled", SOON, async || consumers().await == "0").await;
    proxy.toxics(Toxics::default());
    subscribed.consumer.close().await;
    amqp.close().await;
}
