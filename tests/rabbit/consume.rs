//! Attaching, deliveries, settling, cancelling and closing, without faults.

use super::*;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::AMQPValue;
use listener::driver::HeaderValue;

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_sent_message_is_delivered_and_acknowledged() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("acknowledged").await);
    let mut outgoing = topic("one");
    outgoing.properties.headers.insert("compression", HeaderValue::from("x"));
    let properties = outgoing.properties.clone();
    rabbit.send(outgoing).await.unwrap();

    let mut subscribed = subscribe(&rabbit).await;
    let delivery = next(&mut subscribed).await;
    assert_eq!(delivery.body, "one");
    assert_eq!(delivery.properties, properties);
    let info = &delivery.info;
    assert_eq!(
        (&*info.queue, &*info.exchange, &*info.routing_key, info.redelivered),
        (QUEUE, "nova", QUEUE, false)
    );
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "acknowledged").await, Some(0));
    rabbit.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_requeued_message_is_redelivered() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("requeued").await);
    let mut subscribed = subscribe(&rabbit).await;
    send(&rabbit, "one").await;
    for _ in 0..2 {
        next(&mut subscribed).await.settle(Settle::Requeue).unwrap();
    }
    let delivery = next(&mut subscribed).await;
    assert!(delivery.info.redelivered);
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "requeued").await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_prefetch_bounds_unsettled_deliveries_and_close_releases_them() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("prefetch").await);
    for n in 0..30 {
        send(&rabbit, &n.to_string()).await;
    }
    let mut subscribed = subscribe(&rabbit).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(next(&mut subscribed).await);
    }
    // Cancelling waits for the broker: anything it sent beyond the ten would have arrived by then.
    subscribed.consumer.cancel().await;
    assert!(subscribed.deliveries.recv().await.is_none());
    for delivery in held.drain(..).skip(4) {
        delivery.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "prefetch").await, Some(24));
}

/// The consumer has capacity: the deliveries that it releases must not be redelivered to it.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quorum_queue_counts_failures_and_not_orderly_closes_from_4_3_on() {
    let node = support::shared().await;
    let rabbit = rabbit(&(node.vhost("counts").await + "?rabbit_quorum_queue=true"));
    send(&rabbit, "one").await;
    let mut subscribed = subscribe(&rabbit).await;
    next(&mut subscribed).await.settle(Settle::Requeue).unwrap();
    assert_eq!(next(&mut subscribed).await.info.delivery_count, Some(1));
    subscribed.consumer.close().await;

    let of_the_close = u64::from(node.version().await < (4, 3));
    let mut subscribed = subscribe(&rabbit).await;
    assert_eq!(next(&mut subscribed).await.info.delivery_count, Some(1 + of_the_close));
    node.ctl(&["close_all_connections", "--vhost", "counts", "a test"]).await;
    let delivery = next(&mut subscribed).await;
    assert_eq!(delivery.info.delivery_count, Some(2 + of_the_close));
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "counts").await, Some(0));
}

/// The consumer is replaced each time: deliveries in transit to the old one must not return to the
/// queue.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_keeps_its_order_while_its_prefetch_grows() {
    const SENT: usize = 4000;
    let node = support::shared().await;
    for queue_type in ["classic", "quorum"] {
        let url = node.vhost(&format!("prefetch grows {queue_type}")).await;
        let amqp = Amqp::connect(&url).await;
        let arguments = [("x-queue-type", AMQPValue::LongString(queue_type.into()))];
        amqp.declare_queue(QUEUE, true, &arguments).await;
        publish_numbers(&amqp, SENT).await;
        let few = subscription(QUEUE).slots(Some(1)).prefetch(1000);
        let few = few.bytes(64 * 1024 * 1024);
        let mut subscribed = rabbit(&url).subscribe(few).await.unwrap();
        for number in 0..SENT {
            let delivery = next(&mut subscribed).await;
            let body = String::from_utf8_lossy(&delivery.body).into_owned();
            assert_eq!(body, number.to_string(), "{queue_type}");
            assert!(!delivery.info.redelivered, "{queue_type}: {body}");
            delivery.settle(Settle::Ack).unwrap();
        }
        subscribed.consumer.close().await;
        amqp.close().await;
    }
}

/// Deliveries for which the last acknowledgements made room are in transit when a consumer is closed.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_keeps_its_order_across_orderly_stops() {
    const SENT: usize = 100;
    let node = support::shared().await;
    for (queue_type, is_single) in [("classic", false), ("quorum", false), ("quorum", true)] {
        let context = format!("{queue_type}, single active consumer: {is_single}");
        let url = node.vhost(&format!("stops {context}")).await;
        let amqp = Amqp::connect(&url).await;
        let arguments = [
            ("x-queue-type", AMQPValue::LongString(queue_type.into())),
            ("x-single-active-consumer", AMQPValue::Boolean(is_single)),
        ];
        amqp.declare_queue(QUEUE, true, &arguments).await;
        publish_numbers(&amqp, SENT).await;
        let rabbit = rabbit(&url);
        let mut numbers = (0..SENT).map(|number| number.to_string()).peekable();
        while numbers.peek().is_some() {
            let fitted = subscription(QUEUE).slots(Some(4)).bytes(1024 * 1024);
            let mut subscribed = rabbit.subscribe(fitted).await.unwrap();
            for number in numbers.by_ref().take(7) {
                let delivery = next(&mut subscribed).await;
                assert_eq!(delivery.body, number, "{context}");
                delivery.settle(Settle::Ack).unwrap();
            }
            subscribed.consumer.close().await;
        }
        amqp.close().await;
    }
}

/// The prefetch grows while deliveries of the first consumer are held, so that each of the others is
/// acknowledged individually. All acknowledgements must arrive, and deliveries of several consumers must
/// be released in order. The queue holds more than the prefetch.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_keeps_its_order_at_a_stop_whichever_consumer_delivered() {
    const SENT: usize = 1000;
    let node = support::shared().await;
    for queue_type in ["classic", "quorum"] {
        let url = node.vhost(&format!("consumers {queue_type}")).await;
        let amqp = Amqp::connect(&url).await;
        let arguments = [("x-queue-type", AMQPValue::LongString(queue_type.into()))];
        amqp.declare_queue(QUEUE, true, &arguments).await;
        publish_numbers(&amqp, SENT).await;
        let rabbit = rabbit(&url);
        let fitted = || subscription(QUEUE).slots(Some(4)).prefetch(400).bytes(64 * 1024 * 1024);
        let mut subscribed = rabbit.subscribe(fitted()).await.unwrap();
        let mut held = Vec::new();
        let mut unsettled = Vec::new();
        for number in 0..300 {
            let delivery = next(&mut subscribed).await;
            if matches!(number, 1 | 2) || number >= 280 {
                unsettled.push(number);
                held.push(delivery);
            } else {
                delivery.settle(Settle::Ack).unwrap();
            }
        }
        subscribed.consumer.close().await;
        drop(held);
        let mut subscribed = rabbit.subscribe(fitted()).await.unwrap();
        for number in unsettled.into_iter().chain(300..SENT) {
            let delivery = next(&mut subscribed).await;
            assert_eq!(delivery.body, number.to_string(), "{queue_type}");
            delivery.settle(Settle::Ack).unwrap();
        }
        subscribed.consumer.close().await;
        amqp.close().await;
    }
}

/// The queue process is suspended for a second: without its answers the channel buffers most
/// acknowledgements, and drops them when it is closed.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn acknowledgements_arrive_at_a_stop_while_the_queue_is_busy() {
    const SENT: usize = 1000;
    const VHOST: &str = "busy";
    let node = support::shared().await;
    let url = node.vhost(VHOST).await;
    let amqp = Amqp::connect(&url).await;
    let quorum = AMQPValue::LongString("quorum".into());
    amqp.declare_queue(QUEUE, true, &[("x-queue-type", quorum)]).await;
    publish_numbers(&amqp, SENT).await;
    let rabbit = rabbit(&url);
    let wide = || subscription(QUEUE).prefetch(300);
    let mut subscribed = rabbit.subscribe(wide()).await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..300 {
        deliveries.push(next(&mut subscribed).await);
    }
    let leader = async |what: &str| {
        node.eval(&format!(
            r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{VHOST}">>, queue, <<"{QUEUE}">>)),
               ok = sys:{what}(amqqueue:get_pid(Q))"#
        ))
        .await
    };
    leader("suspend").await;
    let mut held = Vec::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        // The first is held, so that each of the others is acknowledged individually.
        if number == 0 || number >= 280 {
            held.push((number, delivery));
        } else {
            delivery.settle(Settle::Ack).unwrap();
        }
    }
    let closed = tokio::spawn(subscribed.consumer.close());
    tokio::time::sleep(Duration::from_secs(1)).await;
    leader("resume").await;
    closed.await.unwrap();
    let numbers: Vec<usize> = held.into_iter().map(|(number, _)| number).collect();
    let mut subscribed = rabbit.subscribe(wide()).await.unwrap();
    for number in numbers.into_iter().chain(300..SENT) {
        let delivery = next(&mut subscribed).await;
        assert_eq!(delivery.body, number.to_string());
        delivery.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
    amqp.close().await;
}

async fn publish_numbers(amqp: &Amqp, count: usize) {
    for number in 0..count {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let (options, body) = (BasicPublishOptions::default(), number.to_string());
        let sent = amqp.channel().basic_publish(
            "".into(),
            QUEUE.into(),
            options,
            body.as_bytes(),
            properties,
        );
        drop(sent.await.unwrap());
    }
    amqp.channel().wait_for_confirms().await.unwrap();
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn many_settlements_in_any_order_all_arrive() {
    let node = support::shared().await;
    let url = node.vhost("many").await + "?rabbit_qos_prefetch_count=300";
    let rabbit = rabbit(&url);
    let sends = (0..2000).map(|n| {
        let rabbit = &rabbit;
        async move { send(rabbit, &n.to_string()).await }
    });
    futures_util::future::join_all(sends).await;
    let mut subscribed = subscribe(&rabbit).await;
    let (mut seen, mut held) = (0, Vec::new());
    while seen < 2000 {
        held.push(next(&mut subscribed).await);
        seen += 1;
        if held.len() == 100 || seen == 2000 {
            while !held.is_empty() {
                let at = (seen * 7 + held.len() * 13) % held.len();
                held.swap_remove(at).settle(Settle::Ack).unwrap();
            }
        }
    }
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "many").await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_dropped_consumer_is_closed() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("dropped").await);
    let subscribed = subscribe(&rabbit).await;
    let consumers = async || node.ctl(&["list_consumers", "-p", "dropped"]).await;
    assert!(consumers().await.contains(QUEUE));
    drop((subscribed, rabbit));
    wait_until("no consumer", SOON, async || !consumers().await.contains(QUEUE)).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_abandoned_subscription_leaves_nothing_behind() {
    let node = support::shared().await;
    let url = node.vhost("given_up").await;
    let proxy = support::Proxy::start(node.port()).await;
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let rabbit = rabbit(&through);
    // It connects, but does not attach.
    proxy.stall(true);
    tokio::select! {
        subscribed = rabbit.subscribe(subscription(QUEUE)) => panic!("{:?}", subscribed.err()),
        () = wait_until("a connection", SOON, async || proxy.connections() > 0) => {}
    }
    proxy.stall(false);
    wait_until("no link", SOON, async || proxy.connections() == 0).await;
    let connections = async || node.ctl(&["list_connections", "vhost"]).await;
    wait_until("no connection", SOON, async || !connections().await.contains("given_up")).await;
}

/// The program blocks the only thread of its runtime.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_program_that_blocks_its_only_thread_keeps_its_connection() {
    let node = support::shared().await;
    let url = node.vhost("blocking").await + "?heartbeat_timeout_threshold=1";
    let rabbit = rabbit(&url);
    let mut subscribed = subscribe(&rabbit).await;
    send(&rabbit, "one").await;
    let delivery = next(&mut subscribed).await;
    std::thread::sleep(Duration::from_secs(6));
    delivery.settle(Settle::Ack).expect("the same session");
    assert_eq!(*subscribed.consumer.state().borrow(), ConnectionState::Attached);
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "blocking").await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_with_an_expiry_is_deleted_without_a_consumer() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("expiring").await);
    let expires = Some(Duration::from_secs(1));
    let subscribed = rabbit.subscribe(subscription(QUEUE).expires(expires)).await;
    assert_eq!(depth(node, "expiring").await, Some(0));
    subscribed.unwrap().consumer.close().await;
    wait_until("no queue", SOON, async || depth(node, "expiring").await.is_none()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn quorum_queues_are_declared_with_the_options_of_the_url() {
    let node = support::shared().await;
    let url = node.vhost("quorum").await
        + "?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=7&rabbit_login_method=AMQPLAIN";
    let rabbit = rabbit(&url);
    let mut subscribed = subscribe(&rabbit).await;
    send(&rabbit, "one").await;
    next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    let queues = node.ctl(&["list_queues", "-p", "quorum", "type", "arguments"]).await;
    assert!(queues.contains("quorum") && queues.contains("x-delivery-limit"), "{queues}");
    // The existing queue matches the options.
    let again = subscribe(&rabbit).await;
    again.consumer.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_consumer_asks_to_be_cancelled_on_failover_only_with_its_option() {
    let node = support::shared().await;
    for (vhost, option, asks) in
        [("failover", "?enable_cancel_on_failover=true", true), ("no failover", "", false)]
    {
        let rabbit = rabbit(&(node.vhost(vhost).await + option));
        let subscribed = subscribe(&rabbit).await;
        let consumers = node.ctl(&["list_consumers", "-p", vhost, "arguments"]).await;
        assert_eq!(consumers.contains("x-cancel-on-ha-failover"), asks, "{consumers}");
        subscribed.consumer.close().await;
    }
}
