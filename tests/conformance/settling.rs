//! Settlements while the consumer exists: capacity of the prefetch, redeliveries, and their position in
//! the queue. What the end of a subscription does is in `closing.rs`.

use listener::driver::Settle;

use crate::broker::{Broker, EXCHANGE, KEY, Received, texts};

claims! {
    an_ack_makes_room_in_the_prefetch,
    an_acknowledged_message_is_not_redelivered,
    unsettled_deliveries_keep_their_order_at_the_close,
    a_requeued_message_can_go_to_another_consumer,
    deliveries_can_be_settled_in_any_order,
    a_dropped_delivery_keeps_its_position,
    the_delivery_count_is_correct_or_absent;
    // RabbitMQ puts requeued messages at the end of a quorum queue without a delivery limit.
    not quorum:
    a_requeued_message_is_redelivered_before_later_ones,
    requeued_messages_keep_their_original_order,
}

async fn an_ack_makes_room_in_the_prefetch(broker: &Broker) {
    let mut listening = broker.listen(1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    broker.send(EXCHANGE, KEY, "b").await;
    let held = listening.next().await;
    assert!(!listening.has_more());
    held.settle(Settle::Ack).unwrap();
    assert_eq!(listening.handle().await, Received::text("b", KEY));
}

async fn an_acknowledged_message_is_not_redelivered(broker: &Broker) {
    let mut first = broker.listen(10).await;
    broker.send(EXCHANGE, KEY, "a").await;
    first.handle().await;
    first.close().await;
    broker.send(EXCHANGE, KEY, "mark").await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle().await, Received::text("mark", KEY));
}

async fn a_requeued_message_is_redelivered_before_later_ones(broker: &Broker) {
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

async fn unsettled_deliveries_keep_their_order_at_the_close(broker: &Broker) {
    let mut first = broker.listen(4).await;
    for body in ["a", "b", "c", "d", "e"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let mut held = first.take(4).await;
    held.remove(1).settle(Settle::Ack).unwrap();
    // One is dropped, and the others are unsettled when the session ends.
    drop(held.remove(0));
    first.close().await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle_texts(4).await, ["a", "c", "d", "e"]);
}

async fn a_requeued_message_can_go_to_another_consumer(broker: &Broker) {
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

async fn requeued_messages_keep_their_original_order(broker: &Broker) {
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

async fn deliveries_can_be_settled_in_any_order(broker: &Broker) {
    let mut first = broker.listen(4).await;
    for body in ["a", "b", "c", "d"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
    let mut held = first.take(4).await;
    held.remove(3).settle(Settle::Ack).unwrap();
    held.remove(1).settle(Settle::Ack).unwrap();
    // `a` and `c` stay unsettled.
    assert_eq!(texts(&held), ["a", "c"]);
    first.close().await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle().await, Received::text("a", KEY).again());
    assert_eq!(second.handle().await, Received::text("c", KEY).again());
    broker.send(EXCHANGE, KEY, "mark").await;
    assert_eq!(second.handle().await, Received::text("mark", KEY));
}

async fn a_dropped_delivery_keeps_its_position(broker: &Broker) {
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

async fn the_delivery_count_is_correct_or_absent(broker: &Broker) {
    let mut listening = broker.listen(1).await;
    broker.send(EXCHANGE, KEY, "a").await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let delivery = listening.next().await;
        counts.push(delivery.info.delivery_count);
        delivery.settle(Settle::Requeue).unwrap();
    }
    // Queues with a delivery count report it from the first redelivery on: quorum queues, and those in
    // memory. Classic queues never do.
    let known = [vec![None, Some(1), Some(2)], vec![None, None, None]];
    assert!(known.contains(&counts), "{counts:?}");
}
