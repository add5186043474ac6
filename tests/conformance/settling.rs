//! What comes of a settlement while the consumer stands: places that are freed, deliveries
//! that come back, and where in the queue. What an end does to them is in `ending.rs`.

use listener::driver::Settle;

use crate::broker::{Broker, EXCHANGE, KEY, Received, texts};

claims! {
    an_ack_frees_a_place,
    what_is_acknowledged_does_not_come_again,
    what_is_unsettled_at_the_close_keeps_its_old_order,
    what_is_requeued_may_go_to_another_consumer,
    settlements_may_come_in_any_order,
    a_delivery_that_is_dropped_keeps_its_place,
    a_count_is_of_what_was_given_out_before_or_there_is_none;
    // RabbitMQ puts what is requeued at the end of a quorum queue without a delivery limit.
    not quorum:
    what_is_requeued_comes_again_before_later_ones,
    what_comes_back_keeps_its_old_order,
}

async fn an_ack_frees_a_place(broker: &Broker) {
    let mut listening = broker.listen(1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, KEY, "b").await;
    let held = listening.next().await;
    assert!(!listening.has_more());
    held.settle(Settle::Ack).unwrap();
    assert_eq!(listening.handle().await, Received::text("b", KEY));
}

async fn what_is_acknowledged_does_not_come_again(broker: &Broker) {
    let mut first = broker.listen(10).await;
    broker.send(EXCHANGE, KEY, "a").await;
    first.handle().await;
    first.close().await;
    broker.send(EXCHANGE, KEY, "mark").await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle().await, Received::text("mark", KEY));
}

async fn what_is_requeued_comes_again_before_later_ones(broker: &Broker) {
    let mut listening = broker.listen(1).await;
    for body in ["a", "b"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let delivery = listening.next().await;
    assert_eq!(Received::from(&delivery), Received::text("a", KEY));
    delivery.settle(Settle::Requeue).unwrap();
    assert_eq!(listening.handle().await, Received::text("a", KEY).again());
    assert_eq!(listening.handle().await, Received::text("b", KEY));
}

async fn what_is_unsettled_at_the_close_keeps_its_old_order(broker: &Broker) {
    let mut first = broker.listen(4).await;
    for body in ["a", "b", "c", "d", "e"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let mut held = first.take(4).await;
    held.remove(1).settle(Settle::Ack).unwrap();
    // One is dropped, and the others are still there when the session ends.
    drop(held.remove(0));
    first.close().await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle_texts(4).await, ["a", "c", "d", "e"]);
}

async fn what_is_requeued_may_go_to_another_consumer(broker: &Broker) {
    let mut first = broker.listen(2).await;
    for body in ["a", "b"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let mut held = first.take(2).await.into_iter();
    let mut second = broker.listen(1).await;
    first.cancel().await;
    held.next().unwrap().settle(Settle::Requeue).unwrap();
    assert_eq!(second.handle().await, Received::text("a", KEY).again());
}

async fn what_comes_back_keeps_its_old_order(broker: &Broker) {
    let mut first = broker.listen(3).await;
    for body in ["a", "b", "c", "d"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let held = first.take(3).await;
    first.cancel().await;
    for delivery in held.into_iter().rev() {
        delivery.settle(Settle::Requeue).unwrap();
    }
    first.close().await;
    let mut second = broker.listen(10).await;
    for body in ["a", "b", "c"] {
        assert_eq!(second.handle().await, Received::text(body, KEY).again());
    }
    assert_eq!(second.handle().await, Received::text("d", KEY));
}

async fn settlements_may_come_in_any_order(broker: &Broker) {
    let mut first = broker.listen(4).await;
    for body in ["a", "b", "c", "d"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let mut held = first.take(4).await;
    held.remove(3).settle(Settle::Ack).unwrap();
    held.remove(1).settle(Settle::Ack).unwrap();
    // `a` and `c` are left, unsettled.
    assert_eq!(texts(&held), ["a", "c"]);
    first.close().await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle().await, Received::text("a", KEY).again());
    assert_eq!(second.handle().await, Received::text("c", KEY).again());
    broker.send(EXCHANGE, KEY, "mark").await;
    assert_eq!(second.handle().await, Received::text("mark", KEY));
}

async fn a_delivery_that_is_dropped_keeps_its_place(broker: &Broker) {
    let mut first = broker.listen(1).await;
    for body in ["a", "b"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    drop(first.next().await);
    let mut second = broker.listen(1).await;
    assert_eq!(second.handle().await, Received::text("b", KEY));
    assert!(!first.has_more());
    first.close().await;
    assert_eq!(second.handle().await, Received::text("a", KEY).again());
}

async fn a_count_is_of_what_was_given_out_before_or_there_is_none(broker: &Broker) {
    let mut listening = broker.listen(1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let delivery = listening.next().await;
        counts.push(delivery.info.delivery_count);
        delivery.settle(Settle::Requeue).unwrap();
    }
    // A queue that counts says so once there is something to count: a quorum queue, and one in
    // memory. A classic one never does.
    let known = [vec![None, Some(1), Some(2)], vec![None, None, None]];
    assert!(known.contains(&counts), "{counts:?}");
}
