//! Faults while the driver consumes and sends: the session is lost and recovers, and no message is lost.

use super::*;
use lapin::types::AMQPValue;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use support::Proxy;
use tokio::sync::watch;

/// The session is lost and attached again, and unsettled deliveries are redelivered.
async fn recovers(subscribed: &mut Subscribed, rabbit: &Rabbit, fault: impl AsyncFnOnce()) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (first, last) = (format!("before {number}"), format!("after {number}"));
    send(rabbit, &first).await;
    let before = next_of(subscribed, &first).await;
    let started = Instant::now();
    fault().await;
    state(subscribed, true).await;
    let attached = started.elapsed();
    assert!(before.settle(Settle::Ack).is_err(), "an old session accepts no settlement");
    let again = next_of(subscribed, &first).await;
    assert!(again.info.redelivered);
    again.settle(Settle::Ack).unwrap();
    send(rabbit, &last).await;
    next_of(subscribed, &last).await.settle(Settle::Ack).unwrap();
    eprintln!("attached again after {attached:?}");
}

/// The next delivery with this body. Deliveries acknowledged right before a fault may be redelivered,
/// because the fault may have been faster.
async fn next_of(subscribed: &mut Subscribed, body: &str) -> Delivery {
    loop {
        let delivery = next(subscribed).await;
        if delivery.body == body {
            return delivery;
        }
        assert!(delivery.info.redelivered, "{:?} before {body:?}", delivery.body);
        delivery.settle(Settle::Ack).unwrap();
    }
}

/// Waits until the current session is lost. Another one may be attached by then: only the change of the
/// state is observed.
async fn is_lost(session: &mut watch::Receiver<ConnectionState>, fault: impl AsyncFnOnce()) {
    assert_eq!(*session.borrow_and_update(), ConnectionState::Attached);
    fault().await;
    timeout(SOON, session.changed()).await.expect("lost").unwrap();
}

pub(super) async fn finish(subscribed: Subscribed, node: &RabbitNode, vhost: &str) {
    subscribed.consumer.close().await;
    assert_eq!(depth(node, vhost).await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_session_recovers_from_a_killed_broker() {
    let mut node = RabbitNode::start().await;
    let rabbit = rabbit(&node.url());
    let mut subscribed = subscribe(&rabbit).await;
    let mut session = subscribed.consumer.state();
    recovers(&mut subscribed, &rabbit, async || {
        is_lost(&mut session, async || node.kill().await).await;
        node.restart().await;
    })
    .await;
    finish(subscribed, &node, "/").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_session_recovers_from_a_cut_link() {
    let node = support::shared().await;
    let url = node.vhost("cut").await;
    let proxy = Proxy::start(node.port()).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let (rabbit, direct) = (rabbit(&through), rabbit(&url));
    let mut subscribed = subscribe(&rabbit).await;
    for _ in 0..3 {
        let mut session = subscribed.consumer.state();
        recovers(&mut subscribed, &direct, async || {
            is_lost(&mut session, async || proxy.cut()).await;
        })
        .await;
    }
    finish(subscribed, node, "cut").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_session_recovers_from_a_stalled_link() {
    let node = support::shared().await;
    let url = node.vhost("stalled").await + "?heartbeat_timeout_threshold=1";
    let proxy = Proxy::start(node.port()).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let (rabbit, direct) = (rabbit(&through), rabbit(&url));
    let mut subscribed = subscribe(&rabbit).await;
    let mut session = subscribed.consumer.state();
    recovers(&mut subscribed, &direct, async || {
        let stalled = Instant::now();
        is_lost(&mut session, async || proxy.stall(true)).await;
        eprintln!("given up after {:?}", stalled.elapsed());
        proxy.stall(false);
    })
    .await;
    finish(subscribed, node, "stalled").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_session_recovers_from_connections_closed_by_the_broker() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("closed").await);
    let mut subscribed = subscribe(&rabbit).await;
    for _ in 0..3 {
        let watched = subscribed.consumer.state();
        recovers(&mut subscribed, &rabbit, async || {
            let mut lost = watched.clone();
            lost.mark_unchanged();
            node.ctl(&["close_all_connections", "--vhost", "closed", "test"]).await;
            timeout(SOON, lost.changed()).await.expect("lost").unwrap();
        })
        .await;
    }
    finish(subscribed, node, "closed").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_deleted_queue_is_declared_and_consumed_again() {
    let node = support::shared().await;
    let url = node.vhost("vanished").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    let mut subscribed = subscribe(&rabbit).await;
    let mut changes = subscribed.consumer.state();
    changes.mark_unchanged();
    amqp.delete_queue(QUEUE).await;
    timeout(SOON, changes.changed()).await.expect("lost").unwrap();
    state(&subscribed, true).await;
    send(&rabbit, "one").await;
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    finish(subscribed, node, "vanished").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_redeclared_with_a_low_delivery_limit_is_waited_out() {
    let (node, vhost) = (support::shared().await, "lower_limit");
    let url = node.vhost(vhost).await;
    let proxy = Proxy::start(node.port()).await;
    let rabbit = rabbit(&url.replace(&node.port().to_string(), &proxy.port().to_string()));
    let amqp = Amqp::connect(&url).await;
    let declare = async |limit| {
        let kind = ("x-queue-type", AMQPValue::LongString("quorum".into()));
        let limit = ("x-delivery-limit", AMQPValue::LongInt(limit));
        amqp.declare_queue(QUEUE, true, &[kind, limit]).await;
    };
    // While the listener is disconnected, so that it declares nothing in between.
    let declare_again = async |limit| {
        proxy.refuse(true);
        proxy.cut();
        wait_until("no link", SOON, async || proxy.connections() == 0).await;
        amqp.delete_queue(QUEUE).await;
        declare(limit).await;
        proxy.refuse(false);
    };
    declare(20).await;
    let mut subscribed = subscribe(&rabbit).await;
    declare_again(3).await;
    let mut changes = subscribed.consumer.state();
    let is_reported = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("delivery limit of 3"));
    timeout(SOON, changes.wait_for(is_reported)).await.expect("the limit").unwrap();
    declare_again(20).await;
    state(&subscribed, true).await;
    send(&rabbit, "one").await;
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    finish(subscribed, node, vhost).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_redeclared_with_other_arguments_is_waited_out() {
    let node = support::shared().await;
    let url = node.vhost("later").await + "?amqp_durable_queues=true";
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&node.vhost("later").await).await);
    let mut subscribed = subscribe(&rabbit).await;
    // Deleted and declared with other arguments; the listener may redeclare it first, and must end
    // attached.
    amqp.delete_queue(QUEUE).await;
    amqp.declare_queue(QUEUE, false, &[]).await;
    let mut changes = subscribed.consumer.state();
    let is_reported = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("durable was requested"));
    timeout(SOON, changes.wait_for(is_reported)).await.expect("the mismatch").unwrap();
    amqp.delete_queue(QUEUE).await;
    state(&subscribed, true).await;
    send(&rabbit, "one").await;
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    finish(subscribed, node, "later").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_without_a_broker_can_be_cancelled_and_closed() {
    let node = support::shared().await;
    let url = node.vhost("gone").await;
    let proxy = Proxy::start(node.port()).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let rabbit = rabbit(&through);
    let mut subscribed = subscribe(&rabbit).await;
    proxy.refuse(true);
    proxy.cut();
    state(&subscribed, false).await;
    timeout(Duration::from_secs(2), subscribed.consumer.cancel()).await.expect("immediately");
    assert!(subscribed.deliveries.recv().await.is_none());
    timeout(Duration::from_secs(2), subscribed.consumer.close()).await.expect("immediately");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_message_sent_with_ok_survives_a_killed_broker() {
    let mut node = RabbitNode::start().await;
    let rabbit = std::sync::Arc::new(rabbit(&node.url()));
    let mut tasks = tokio::task::JoinSet::new();
    for sender in 0..20 {
        let rabbit = std::sync::Arc::clone(&rabbit);
        tasks.spawn(async move {
            let mut sent = Vec::new();
            for n in 0..100 {
                let body = format!("{sender}-{n}");
                if rabbit.send(topic(&body)).await.is_ok() {
                    sent.push(body);
                }
            }
            sent
        });
    }
    // In the middle of the sends.
    wait_until("some messages", SOON, async || depth(&node, "/").await > Some(50)).await;
    node.kill().await;
    node.restart().await;
    let mut sent = HashSet::new();
    while let Some(bodies) = timeout(Duration::from_secs(120), tasks.join_next()).await.unwrap() {
        sent.extend(bodies.unwrap());
    }
    let amqp = Amqp::connect(&node.url()).await;
    let found: Vec<_> = amqp.drain(QUEUE).await;
    let total = found.len();
    let found: HashSet<_> =
        found.into_iter().map(|m| String::from_utf8(m.delivery.data).unwrap()).collect();
    let lost: Vec<_> = sent.difference(&found).collect();
    eprintln!("sent {} found {} messages, {} different", sent.len(), total, found.len());
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(sent.len(), 2000, "every send succeeds after the restart");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn every_message_is_delivered_across_a_killed_broker() {
    let mut node = RabbitNode::start().await;
    let rabbit = rabbit(&node.url());
    let sends = (0..3000).map(|n| {
        let rabbit = &rabbit;
        async move { send(rabbit, &n.to_string()).await }
    });
    futures_util::future::join_all(sends).await;
    let mut wide = subscription(QUEUE);
    wide.prefetch = 50;
    let mut subscribed = rabbit.subscribe(wide).await.unwrap();
    let (mut seen, mut deliveries, mut stale) = (HashSet::new(), 0, 0);
    while seen.len() < 3000 {
        if deliveries == 1000 {
            node.kill().await;
            node.restart().await;
        }
        let delivery = next(&mut subscribed).await;
        deliveries += 1;
        seen.insert(delivery.body.clone());
        stale += usize::from(delivery.settle(Settle::Ack).is_err());
    }
    eprintln!("{deliveries} deliveries of 3000 messages, {stale} settlements too late");
    // Delivered twice are only unsettled deliveries, and those whose acknowledgement the broker had not
    // stored.
    finish(subscribed, &node, "/").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn senders_do_not_storm_a_broker_that_ends_each_connection() {
    let node = support::shared().await;
    let url = node.vhost("stormed").await;
    let proxy = Proxy::start(node.port()).await;
    let rabbit = rabbit(&url.replace(&node.port().to_string(), &proxy.port().to_string()));
    send(&rabbit, "first").await;
    let sends = futures_util::future::join_all((0..20).map(|sender| {
        let rabbit = &rabbit;
        async move {
            for n in 0..50 {
                rabbit.send(topic(&format!("{sender} {n}"))).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }));
    let cuts = async {
        for _ in 0..30 {
            // Long enough to establish a session, and far too short to reset the back-off.
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.cut();
        }
        proxy.accepted()
    };
    let (accepted, _) = tokio::join!(cuts, sends);
    // Nine seconds: the delays are 0.6 s, 1.6 s, 2.6 s .. on average.
    eprintln!("{accepted} connections");
    assert!(accepted <= 9, "{accepted} connections");
    send(&rabbit, "last").await;
}

/// Up to RabbitMQ 4.2 the broker closes the channel. From 4.3 on only quorum queues have the timeout,
/// and they cancel the consumer without a reason.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_timeout_is_reported_with_a_fix() {
    let node = RabbitNode::start().await;
    for (name, milliseconds) in [("consumer_timeout", 1000), ("channel_tick_interval", 500)] {
        let set = format!("application:set_env(rabbit, {name}, {milliseconds})");
        node.eval(&set).await;
    }
    let rabbit = rabbit(&(node.url() + "?rabbit_quorum_queue=true"));
    let mut subscribed = subscribe(&rabbit).await;
    send(&rabbit, "one").await;
    let mut changes = subscribed.consumer.state();
    let held = next(&mut subscribed).await;
    let is_reported = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("set a shorter handler_timeout"));
    timeout(SOON, changes.wait_for(is_reported)).await.expect("the timeout is reported").unwrap();
    assert!(held.settle(Settle::Ack).is_err(), "an old session accepts no settlement");
    // It was not handled.
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(depth(&node, "/").await, Some(0));
}
