//! Faults while it consumes and sends: the session is lost, made again, and nothing with it is.

use super::*;
use lapin::types::AMQPValue;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use support::{Impostor, Proxy, Toxics};
use tokio::sync::watch;

/// The session is lost, attached again, and what was unsettled comes again.
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
    assert!(before.settle(Settle::Ack).is_err(), "an old session takes no settlement");
    let again = next_of(subscribed, &first).await;
    assert!(again.info.redelivered);
    again.settle(Settle::Ack).unwrap();
    send(rabbit, &last).await;
    next_of(subscribed, &last).await.settle(Settle::Ack).unwrap();
    eprintln!("attached again after {attached:?}");
}

/// The next delivery with this body. What was acknowledged right before a fault comes again, for
/// the fault may have been faster.
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

/// Waits until the session that is attached now is lost. Another one may be attached by then: it
/// is seen that the state changed, and not which it was in between.
async fn is_lost(session: &mut watch::Receiver<ConnectionState>, fault: impl AsyncFnOnce()) {
    assert_eq!(*session.borrow_and_update(), ConnectionState::Attached);
    fault().await;
    timeout(SOON, session.changed()).await.expect("lost").unwrap();
}

async fn finish(subscribed: Subscribed, node: &RabbitNode, vhost: &str) {
    subscribed.consumer.close().await;
    assert_eq!(depth(node, vhost).await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_killed_broker_is_attached_again() {
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
async fn a_cut_link_is_attached_again() {
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
async fn a_stalled_link_is_given_up_and_attached_again() {
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
async fn a_host_that_accepts_and_is_silent_costs_its_deadline_and_no_thread() {
    let node = support::shared().await;
    let proxy = Proxy::start(node.port()).await;
    proxy.stall(true);
    let url = format!("rabbit://guest:guest@127.0.0.1:{}/", proxy.port());
    let mut waiting = subscription(QUEUE);
    waiting.timeout = Duration::from_secs(3);
    let rabbit = rabbit(&url);
    for _ in 0..3 {
        let error = rabbit.subscribe(waiting.clone()).await.unwrap_err();
        assert!(error.to_string().contains("no answer yet"), "{error}");
    }
    drop(rabbit);
    wait_until("no link", SOON, async || proxy.connections() == 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn connections_that_the_broker_closes_are_made_again() {
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
async fn a_queue_made_anew_with_a_lower_delivery_limit_is_waited_out() {
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
    // While the listener is away, so that it declares nothing in between.
    let declare_anew = async |limit| {
        proxy.refuse(true);
        proxy.cut();
        wait_until("no link", SOON, async || proxy.connections() == 0).await;
        amqp.delete_queue(QUEUE).await;
        declare(limit).await;
        proxy.refuse(false);
    };
    declare(20).await;
    let mut subscribed = subscribe(&rabbit).await;
    declare_anew(3).await;
    let mut changes = subscribed.consumer.state();
    let is_told = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("delivery limit of 3"));
    timeout(SOON, changes.wait_for(is_told)).await.expect("the limit").unwrap();
    declare_anew(20).await;
    state(&subscribed, true).await;
    send(&rabbit, "one").await;
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    finish(subscribed, node, vhost).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn mistakes_made_later_are_waited_out() {
    let node = support::shared().await;
    let url = node.vhost("later").await + "?amqp_durable_queues=true";
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&node.vhost("later").await).await);
    let mut subscribed = subscribe(&rabbit).await;
    // Deleted and declared otherwise: whoever comes first, the listener must end attached.
    amqp.delete_queue(QUEUE).await;
    amqp.declare_queue(QUEUE, false, &[]).await;
    let mut changes = subscribed.consumer.state();
    let is_told = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("durable was asked"));
    timeout(SOON, changes.wait_for(is_told)).await.expect("the mismatch").unwrap();
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
    timeout(Duration::from_secs(2), subscribed.consumer.cancel()).await.expect("at once");
    assert!(subscribed.deliveries.recv().await.is_none());
    timeout(Duration::from_secs(2), subscribed.consumer.close()).await.expect("at once");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_was_sent_with_ok_survives_a_killed_broker() {
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
    // In the middle of it.
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
    assert_eq!(sent.len(), 2000, "the broker came back in time for all");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn every_message_is_delivered_through_a_killed_broker() {
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
    // What is delivered twice is what was unsettled or not yet written: the prefetch, and the
    // acknowledgements that the broker had taken and not yet stored.
    finish(subscribed, &node, "/").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_next_host_is_tried() {
    let node = support::shared().await;
    let url = node.vhost("hosts").await.replace("@127", "@127.0.0.1:9,guest:guest@127");
    for _ in 0..4 {
        let rabbit = rabbit(&url);
        send(&rabbit, "one").await;
        let mut subscribed = subscribe(&rabbit).await;
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
        finish(subscribed, node, "hosts").await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_broker_that_ends_each_connection_is_not_stormed_by_those_who_send() {
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
            // Long enough for a session to be made, and far too short to trust it.
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.cut();
        }
        proxy.accepted()
    };
    let (accepted, _) = tokio::join!(cuts, sends);
    // Nine seconds: the pauses are 0.6 s, 1.6 s, 2.6 s .. on average.
    eprintln!("{accepted} connections");
    assert!(accepted <= 9, "{accepted} connections");
    send(&rabbit, "last").await;
}

/// Up to RabbitMQ 4.2 it closes the channel. From 4.3 on only quorum queues do it, and cancel the
/// consumer, without a word.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_timeout_is_told_with_what_to_do_about_it() {
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
    let is_told = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("set a shorter handler_timeout"));
    timeout(SOON, changes.wait_for(is_told)).await.expect("the timeout is told").unwrap();
    assert!(held.settle(Settle::Ack).is_err(), "an old session takes no settlement");
    // It was not handled.
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(depth(&node, "/").await, Some(0));
}

/// RabbitMQ closes the connection of whoever consumes a quorum queue that has no majority, after about
/// a minute.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quarantine_queue_without_a_majority_ends_no_session() {
    use lapin::types::AMQPValue;
    const QUARANTINE: &str = "notifications.info.quarantine";
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
    // Before: RabbitMQ 4.3 declares and binds nothing without a majority.
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
    // It is consumed anew.
    assert_eq!(nodes[0].eval(&close_connections("/", "quarantine")).await.trim(), "[ok]");
    for number in 0..90 {
        publish(QUEUE, &number.to_string()).await;
        let delivery = next(&mut subscribed).await;
        assert_eq!(delivery.body, number.to_string());
        delivery.settle(Settle::Ack).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        subscribed.consumer.look_again();
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

/// One that exists is used as it is; what the driver declares has no limit, and no default counts then.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_delivery_limit_of_a_quarantine_queue_is_its_own() {
    use lapin::types::AMQPValue;
    const LIMITED: &str = "notifications.error.quarantine";
    const UNLIMITED: &str = "notifications.info.quarantine";
    let node = support::shared().await;
    let url = node.vhost("quarantine-limit").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    let limited = [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-delivery-limit", AMQPValue::LongInt(8)),
    ];
    amqp.declare_queue(LIMITED, true, &limited).await;
    for queue in [LIMITED, UNLIMITED] {
        rabbit.send(to(Route::Quarantine(queue.to_owned()), "{}")).await.unwrap();
    }
    let quarantine = vec![LIMITED.to_owned(), UNLIMITED.to_owned()];
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

/// Nothing of it can be renewed in time, and the work queues are sound.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quarantine_queue_that_drops_what_comes_back_is_told() {
    use lapin::types::AMQPValue;
    const QUARANTINE: &str = "notifications.error.quarantine";
    let node = support::shared().await;
    let url = node.vhost("quarantine-without-returns").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    let limited = [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-delivery-limit", AMQPValue::LongInt(0)),
    ];
    amqp.declare_queue(QUARANTINE, true, &limited).await;
    rabbit.send(to(Route::Quarantine(QUARANTINE.to_owned()), "{}")).await.unwrap();
    let (buffer, _guard) = rights::logged();
    let subscription = subscription(QUEUE).quarantine(vec![QUARANTINE.to_owned()]);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let delivery = next(&mut subscribed).await;
    assert_eq!(&*delivery.info.queue, QUARANTINE);
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    let told = buffer.text();
    assert!(told.contains("drops what a process had that ended"), "{told}");
}

/// Only the end of a session tells the listener that somebody else has what it works on.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_connection_of_a_quarantine_queue_ends_the_session_only_with_a_delivery_in_work() {
    const QUARANTINE: &str = "notifications.info.quarantine";
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
    timeout(SOON, changes.wait_for(is_lost)).await.expect("it is told").unwrap();
    assert!(held.settle(Settle::Ack).is_err(), "an old session takes no settlement");
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(node.queue_depth(VHOST, QUARANTINE).await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_timeout_of_a_quarantine_queue_is_told_like_any_other() {
    const QUARANTINE: &str = "notifications.info.quarantine";
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
    let is_told = |state: &ConnectionState| matches!(state, ConnectionState::Lost { reason } if reason.contains("set a shorter handler_timeout"));
    timeout(SOON, changes.wait_for(is_told)).await.expect("the timeout is told").unwrap();
    assert!(held.settle(Settle::Ack).is_err(), "an old session takes no settlement");
    // On a busy machine a second is soon over.
    node.eval("application:set_env(rabbit, consumer_timeout, 600000)").await;
    let settled = async {
        while node.queue_depth("/", QUARANTINE).await != Some(0) {
            let second = Duration::from_secs(1);
            if let Ok(delivery) = timeout(second, subscribed.deliveries.recv()).await {
                let _ = delivery.unwrap().settle(Settle::Ack);
            }
        }
    };
    timeout(SOON, settled).await.expect("it is settled");
    state(&subscribed, true).await;
    // One that is deleted is no fault.
    let amqp = Amqp::connect(&node.url()).await;
    amqp.delete_queue(QUARANTINE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(*subscribed.consumer.state().borrow(), ConnectionState::Attached);
    subscribed.consumer.close().await;
}

/// Two hosts, of which one refuses the login: a listener is attached to the other, and messages
/// are sent over it, also after it was away.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_host_that_refuses_keeps_no_message_from_another_host() {
    let node = support::shared().await;
    node.vhost("refusing").await;
    let (good, bad) = (Proxy::start(node.port()).await, Proxy::start(node.port()).await);
    let hosts =
        format!("guest:guest@127.0.0.1:{},guest:wrong@127.0.0.1:{}", good.port(), bad.port());
    // Their order is drawn for each driver.
    for _ in 0..6 {
        let rabbit = rabbit(&format!("amqp://{hosts}/refusing"));
        send(&rabbit, "first").await;
        good.refuse(true);
        good.cut();
        let outgoing = topic("lost").timeout(Duration::from_secs(2));
        let error = rabbit.send(outgoing).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        good.refuse(false);
        send(&rabbit, "last").await;
    }
    // Where all refuse it is told at once.
    let url = format!(
        "amqp://guest:wrong@127.0.0.1:{},guest:no@127.0.0.1:{}/refusing",
        good.port(),
        bad.port()
    );
    let error = rabbit(&url).send(topic("one")).await.unwrap_err();
    assert!(matches!(error, SendError::Connect(ConnectError::LoginRefused { .. })), "{error}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn hosts_that_say_nothing_leave_time_for_the_last_one() {
    let node = support::shared().await;
    let url = node.vhost("silent").await;
    let silent: [Impostor; 3] = std::array::from_fn(|_| Impostor::start(""));
    let silent_hosts = silent.iter().map(|host| format!("127.0.0.1:{}", host.port()));
    let hosts = silent_hosts.collect::<Vec<_>>().join(",");
    let url = url.replace("guest:guest@", &format!("{hosts},guest:guest@"));
    let limit = Duration::from_secs(20);
    // Their order is drawn for each driver.
    let drivers = (0..8).map(|n| {
        let rabbit = rabbit(&url);
        async move {
            if n % 2 == 0 {
                let subscription = subscription(QUEUE).timeout(limit);
                rabbit.subscribe(subscription).await.unwrap().consumer.close().await;
            } else {
                rabbit.send(topic("one").timeout(limit)).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(drivers).await;
}

/// Over a slow link the broker has started the consumer of a quarantine queue, and its answer is under
/// way, when the driver gives the consumer up.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_that_is_given_up_before_it_is_confirmed_is_cancelled() {
    const QUARANTINE: &str = "notifications.info.quarantine";
    const VHOST: &str = "late";
    let node = support::shared().await;
    let proxy = Proxy::start(node.port()).await;
    let url = node.vhost(VHOST).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    // Its connection takes a while to be made, too.
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
    subscribed.consumer.look_again();
    wait_until("the broker has started it", SOON, async || consumers().await == "1").await;
    subscribed.consumer.cancel().await;
    wait_until("it is cancelled", SOON, async || consumers().await == "0").await;
    proxy.toxics(Toxics::default());
    subscribed.consumer.close().await;
    amqp.close().await;
}
