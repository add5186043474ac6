//! Which queue receives which message: default queues, pools, exchanges, and named queues. A marker that
//! is sent last shows that a message does *not* arrive.

use bytes::Bytes;
use listener::DeliveryInfo;
use listener::driver::Properties;

use crate::broker::{Broker, EXCHANGE, KEY, Received};

claims! {
    messages_sent_before_the_first_listener_wait_in_the_default_queue,
    messages_sent_without_a_listener_wait_in_an_existing_pool,
    a_listener_receives_only_its_bound_routing_keys,
    two_exchanges_feed_one_queue,
    a_pool_does_not_receive_messages_of_another_exchange,
    a_message_put_into_a_queue_reaches_only_that_queue,
    a_subscription_without_an_exchange_binds_nothing,
    one_subscription_consumes_several_queues,
    a_queue_named_twice_is_consumed_once;
    // With RabbitMQ 4 a side queue has no delivery limit, although the URL asks for one for work queues.
    not quorum:
    putting_a_message_into_a_missing_queue_declares_it,
}

async fn messages_sent_before_the_first_listener_wait_in_the_default_queue(broker: &Broker) {
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, KEY, "b").await;
    let mut listening = broker.listen(10).await;
    assert_eq!(listening.handle().await, Received::text("a", KEY));
    assert_eq!(listening.handle().await, Received::text("b", KEY));
}

async fn messages_sent_without_a_listener_wait_in_an_existing_pool(broker: &Broker) {
    broker.listen_as("pool", 10).await.close().await;
    broker.send(EXCHANGE, KEY, "a").await;
    let mut pool = broker.listen_as("pool", 10).await;
    assert_eq!(pool.handle().await, Received::text("a", "pool"));
}

async fn a_listener_receives_only_its_bound_routing_keys(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    broker.send(EXCHANGE, "notifications.warn", "other").await;
    broker.send(EXCHANGE, "notifications", "other").await;
    broker.send(EXCHANGE, KEY, "marker").await;
    assert_eq!(listening.handle().await, Received::text("marker", KEY));
}

async fn two_exchanges_feed_one_queue(broker: &Broker) {
    let bindings = [("nova", KEY, KEY), ("glance", KEY, KEY)];
    let mut listening = broker.subscribe(&bindings, 10).await;
    broker.send("nova", KEY, "a").await;
    broker.send("glance", KEY, "b").await;
    for (exchange, body) in [("nova", "a"), ("glance", "b")] {
        let expected =
            Received { info: DeliveryInfo::new(KEY, exchange, KEY), ..Received::text(body, KEY) };
        assert_eq!(listening.handle().await, expected);
    }
}

async fn a_pool_does_not_receive_messages_of_another_exchange(broker: &Broker) {
    let mut pool = broker.subscribe(&[("nova", KEY, "pool")], 10).await;
    broker.send("glance", KEY, "other").await;
    broker.send("nova", KEY, "marker").await;
    assert_eq!(pool.handle_texts(1).await, ["marker"]);
}

async fn a_message_put_into_a_queue_reaches_only_that_queue(broker: &Broker) {
    let mut default = broker.listen(10).await;
    let mut pool = broker.listen_as("pool", 10).await;
    broker.put("pool", "direct").await;
    broker.send(EXCHANGE, KEY, "marker").await;
    assert_eq!(pool.handle().await, direct("direct", "pool"));
    assert_eq!(pool.handle().await, Received::text("marker", "pool"));
    assert_eq!(default.handle().await, Received::text("marker", KEY));
}

async fn putting_a_message_into_a_missing_queue_declares_it(broker: &Broker) {
    broker.put("notifications.info.dead", "letter").await;
    let queue = "notifications.info.dead";
    let mut listening = broker.subscribe(&[("", queue, queue)], 10).await;
    assert_eq!(listening.handle().await, direct("letter", queue));
}

async fn a_subscription_without_an_exchange_binds_nothing(broker: &Broker) {
    let mut bare = broker.subscribe(&[("", KEY, "bare")], 10).await;
    broker.send(EXCHANGE, KEY, "other").await;
    broker.put(KEY, "other").await;
    broker.put("bare", "marker").await;
    assert_eq!(bare.handle().await, direct("marker", "bare"));
}

async fn one_subscription_consumes_several_queues(broker: &Broker) {
    let warn = "notifications.warn";
    let bindings = [(EXCHANGE, KEY, KEY), (EXCHANGE, warn, warn)];
    let mut listening = broker.subscribe(&bindings, 10).await;
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, warn, "b").await;
    let mut received = listening.handle_texts(2).await;
    // Order is kept within a queue only.
    received.sort();
    assert_eq!(received, ["a", "b"]);
}

async fn a_queue_named_twice_is_consumed_once(broker: &Broker) {
    let warn = "notifications.warn";
    let bindings = [(EXCHANGE, KEY, "pool"), (EXCHANGE, warn, "pool")];
    let mut first = broker.subscribe(&bindings, 1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, warn, "b").await;
    let held = first.next().await;
    // A second consumer of the same listener would have received `b` by now.
    let mut second = broker.subscribe(&bindings, 1).await;
    assert_eq!(second.handle_texts(1).await, ["b"]);
    drop(held);
}

/// A text without properties that was put directly into this queue.
fn direct(body: &str, queue: &str) -> Received {
    Received {
        body: Bytes::from(body.to_owned()),
        properties: Properties::default(),
        info: DeliveryInfo::new(queue, "", queue),
    }
}
