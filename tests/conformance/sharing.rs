//! How deliveries are distributed: competing consumers, pools with their own copies, and the prefetch of
//! each consumer.

use std::collections::BTreeSet;

use listener::driver::Settle;

use crate::broker::{Broker, EXCHANGE, KEY, Listening, Received, texts};

claims! {
    competing_consumers_share_a_queue,
    competing_consumers_receive_every_message_once,
    a_pool_receives_its_own_copy,
    members_of_a_pool_compete,
    the_prefetch_bounds_the_unsettled_deliveries_of_a_consumer,
    the_prefetch_applies_to_each_queue_separately,
}

async fn competing_consumers_share_a_queue(broker: &Broker) {
    let mut one = broker.listen(1).await;
    let mut other = broker.listen(1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, KEY, "b").await;
    // Neither settles, so each can hold only one.
    let mut held = one.take(1).await;
    held.extend(other.take(1).await);
    let held = texts(&held).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(held, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}

async fn competing_consumers_receive_every_message_once(broker: &Broker) {
    let mut one = broker.listen(2).await;
    let mut other = broker.listen(2).await;
    let sent: Vec<String> = (10..50).map(|number| format!("n{number}")).collect();
    for body in &sent {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let mut received = handle_between(&mut one, &mut other, sent.len()).await;
    received.sort();
    assert_eq!(received, sent);

    one.close().await;
    other.close().await;
    broker.send(EXCHANGE, KEY, "mark").await;
    let mut last = broker.listen(10).await;
    assert_eq!(last.handle().await, Received::text("mark", KEY));
}

/// The texts of the next deliveries of both, acknowledged.
async fn handle_between(one: &mut Listening, other: &mut Listening, count: usize) -> Vec<String> {
    let mut received = Vec::new();
    while received.len() < count {
        let delivery = tokio::select! {
            delivery = one.next() => delivery,
            delivery = other.next() => delivery,
        };
        received.extend(texts(std::slice::from_ref(&delivery)));
        delivery.settle(Settle::Ack).unwrap();
    }
    received
}

async fn a_pool_receives_its_own_copy(broker: &Broker) {
    let mut default = broker.listen(10).await;
    let mut pool = broker.listen_as("pool", 10).await;
    let mut other = broker.listen_as("other-pool", 10).await;
    broker.send(EXCHANGE, KEY, "a").await;
    assert_eq!(default.handle().await, Received::text("a", KEY));
    assert_eq!(pool.handle().await, Received::text("a", "pool"));
    assert_eq!(other.handle().await, Received::text("a", "other-pool"));
}

async fn members_of_a_pool_compete(broker: &Broker) {
    let mut one = broker.listen_as("pool", 1).await;
    let mut other = broker.listen_as("pool", 1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, KEY, "b").await;
    let mut held = one.take(1).await;
    held.extend(other.take(1).await);
    let held = texts(&held).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(held, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}

async fn the_prefetch_bounds_the_unsettled_deliveries_of_a_consumer(broker: &Broker) {
    let mut first = broker.listen(2).await;
    for body in ["a", "b", "c", "d"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let held = first.take(2).await;
    // The others go to the next consumer, so the first one has received no more.
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle_texts(2).await, ["c", "d"]);
    assert_eq!((texts(&held), first.has_more()), (vec!["a".to_owned(), "b".to_owned()], false));
}

async fn the_prefetch_applies_to_each_queue_separately(broker: &Broker) {
    let warn = "notifications.warn";
    let bindings = [(EXCHANGE, KEY, KEY), (EXCHANGE, warn, warn)];
    let mut first = broker.subscribe(&bindings, 2).await;
    for body in ["a", "b", "c"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    for body in ["x", "y", "z"] {
        broker.send(EXCHANGE, warn, body).await;
    }
    let held = first.take(4).await;
    let mut second = broker.subscribe(&bindings, 2).await;
    let mut rest = second.handle_texts(2).await;
    rest.sort();
    let mut held = texts(&held);
    held.sort();
    assert_eq!(
        (held.join(" "), rest.join(" "), first.has_more()),
        ("a b x y".to_owned(), "c z".to_owned(), false)
    );
}
