//! Which queue gets what: default queues, pools, exchanges, and queues that are named. That
//! something does *not* come is shown by a mark that is sent after it.

use bytes::Bytes;
use listener::DeliveryInfo;
use listener::driver::Properties;

use crate::broker::{Broker, EXCHANGE, KEY, Received};

claims! {
    what_is_sent_before_the_first_listener_waits_in_the_default_queue,
    what_is_sent_without_a_listener_waits_in_a_pool_that_was_there,
    a_listener_hears_only_the_keys_it_is_bound_to,
    two_exchanges_feed_one_queue,
    a_pool_does_not_get_what_another_exchange_got,
    what_is_put_into_a_queue_reaches_that_queue_alone,
    a_subscription_without_an_exchange_takes_the_queue_as_it_is,
    several_queues_come_out_of_one_subscription,
    a_queue_that_is_named_twice_is_consumed_once;
    // With RabbitMQ 4 a side queue has no delivery limit, which the URL of a work queue asks for.
    not quorum:
    a_queue_that_nobody_declared_is_declared_by_what_is_put_into_it,
}

async fn what_is_sent_before_the_first_listener_waits_in_the_default_queue(broker: &Broker) {
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, KEY, "b").await;
    let mut listening = broker.listen(10).await;
    assert_eq!(listening.handle().await, Received::text("a", KEY));
    assert_eq!(listening.handle().await, Received::text("b", KEY));
}

async fn what_is_sent_without_a_listener_waits_in_a_pool_that_was_there(broker: &Broker) {
    broker.listen_as("pool", 10).await.close().await;
    broker.send(EXCHANGE, KEY, "a").await;
    let mut pool = broker.listen_as("pool", 10).await;
    assert_eq!(pool.handle().await, Received::text("a", "pool"));
}

async fn a_listener_hears_only_the_keys_it_is_bound_to(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    broker.send(EXCHANGE, "notifications.warn", "other").await;
    broker.send(EXCHANGE, "notifications", "other").await;
    broker.send(EXCHANGE, KEY, "mark").await;
    assert_eq!(listening.handle().await, Received::text("mark", KEY));
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

async fn a_pool_does_not_get_what_another_exchange_got(broker: &Broker) {
    let mut pool = broker.subscribe(&[("nova", KEY, "pool")], 10).await;
    broker.send("glance", KEY, "other").await;
    broker.send("nova", KEY, "mark").await;
    assert_eq!(pool.handle_texts(1).await, ["mark"]);
}

async fn what_is_put_into_a_queue_reaches_that_queue_alone(broker: &Broker) {
    let mut default = broker.listen(10).await;
    let mut pool = broker.listen_as("pool", 10).await;
    broker.put("pool", "direct").await;
    broker.send(EXCHANGE, KEY, "mark").await;
    assert_eq!(pool.handle().await, direct("direct", "pool"));
    assert_eq!(pool.handle().await, Received::text("mark", "pool"));
    assert_eq!(default.handle().await, Received::text("mark", KEY));
}

async fn a_queue_that_nobody_declared_is_declared_by_what_is_put_into_it(broker: &Broker) {
    broker.put("notifications.info.dead", "letter").await;
    let queue = "notifications.info.dead";
    let mut listening = broker.subscribe(&[("", queue, queue)], 10).await;
    assert_eq!(listening.handle().await, direct("letter", queue));
}

async fn a_subscription_without_an_exchange_takes_the_queue_as_it_is(broker: &Broker) {
    let mut bare = broker.subscribe(&[("", KEY, "bare")], 10).await;
    broker.send(EXCHANGE, KEY, "other").await;
    broker.put(KEY, "other").await;
    broker.put("bare", "mark").await;
    assert_eq!(bare.handle().await, direct("mark", "bare"));
}

async fn several_queues_come_out_of_one_subscription(broker: &Broker) {
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

async fn a_queue_that_is_named_twice_is_consumed_once(broker: &Broker) {
    let warn = "notifications.warn";
    let bindings = [(EXCHANGE, KEY, "pool"), (EXCHANGE, warn, "pool")];
    let mut first = broker.subscribe(&bindings, 1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, warn, "b").await;
    let held = first.next().await;
    // With a second consumer of its own, the first would have been given `b` by now.
    let mut second = broker.subscribe(&bindings, 1).await;
    assert_eq!(second.handle_texts(1).await, ["b"]);
    drop(held);
}

/// A bare text that was put straight into this queue.
fn direct(body: &str, queue: &str) -> Received {
    Received {
        body: Bytes::from(body.to_owned()),
        properties: Properties::default(),
        info: DeliveryInfo::new(queue, "", queue),
    }
}
