//! How a subscription ends: cancelled, closed or dropped, what happens to its deliveries, and its state.

use listener::driver::ConnectionState;
use listener::driver::Settle;
use listener::driver::SettleError;

use crate::broker::{Broker, EXCHANGE, KEY, Listening, Received, texts};

claims! {
    a_closed_consumer_releases_all_unsettled_deliveries,
    a_dropped_consumer_releases_all_unsettled_deliveries,
    deliveries_left_in_the_channel_are_released,
    a_cancelled_consumer_ends_its_channel_after_the_last,
    deliveries_can_be_settled_after_the_cancellation,
    a_settlement_after_the_close_is_an_error,
    acks_requested_before_the_close_are_carried_out,
    a_subscription_is_attached_until_it_is_cancelled,
    a_closed_subscription_has_the_state_closed,
    a_closed_transport_can_send_again,
    a_subscription_outlives_its_transport;
    // RabbitMQ puts requeued messages at the end of a quorum queue without a delivery limit.
    not quorum:
    redelivered_messages_are_released_in_their_original_order,
}

async fn a_closed_consumer_releases_all_unsettled_deliveries(broker: &Broker) {
    let mut first = broker.listen(10).await;
    send_three(broker).await;
    let held = first.take(3).await;
    first.close().await;
    all_three_again(broker.listen(10).await).await;
    drop(held);
}

async fn a_dropped_consumer_releases_all_unsettled_deliveries(broker: &Broker) {
    let mut first = broker.listen(10).await;
    send_three(broker).await;
    let held = first.take(3).await;
    let second = broker.listen(10).await;
    drop(first);
    all_three_again(second).await;
    drop(held);
}

async fn deliveries_left_in_the_channel_are_released(broker: &Broker) {
    let mut first = broker.listen(10).await;
    send_three(broker).await;
    let held = first.next().await;
    first.close().await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle_texts(3).await, ["a", "b", "c"]);
    drop(held);
}

async fn redelivered_messages_are_released_in_their_original_order(broker: &Broker) {
    let mut first = broker.listen(3).await;
    send_three(broker).await;
    let mut held = first.take(3).await;
    held.remove(0).settle(Settle::Requeue).unwrap();
    held.push(first.next().await);
    let second = broker.listen(10).await;
    first.close().await;
    all_three_again(second).await;
    drop(held);
}

async fn a_cancelled_consumer_ends_its_channel_after_the_last(broker: &Broker) {
    let mut first = broker.listen(10).await;
    send_three(broker).await;
    let mut held = vec![first.next().await];
    first.cancel().await;
    broker.send(EXCHANGE, KEY, "mark").await;
    while let Some(delivery) = first.next_or_end().await {
        held.push(delivery);
    }
    // Each delivery came out of the channel or is still in the queue.
    let mut second = broker.listen(10).await;
    let rest = second.handle_texts(4 - held.len()).await;
    let all: Vec<String> = texts(&held).into_iter().chain(rest).collect();
    assert_eq!(all, ["a", "b", "c", "mark"]);
}

async fn deliveries_can_be_settled_after_the_cancellation(broker: &Broker) {
    let mut first = broker.listen(10).await;
    send_three(broker).await;
    let mut held = first.take(3).await;
    first.cancel().await;
    held.remove(1).settle(Settle::Requeue).unwrap();
    for delivery in held {
        delivery.settle(Settle::Ack).unwrap();
    }
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle().await, Received::text("b", KEY).again());
    first.close().await;
    broker.send(EXCHANGE, KEY, "mark").await;
    assert_eq!(second.handle().await, Received::text("mark", KEY));
}

async fn a_settlement_after_the_close_is_an_error(broker: &Broker) {
    let mut first = broker.listen(10).await;
    send_three(broker).await;
    let held = first.take(3).await;
    first.close().await;
    let settles = [Settle::Ack, Settle::Requeue, Settle::Ack];
    for (delivery, settle) in held.into_iter().zip(settles) {
        assert_eq!(delivery.settle(settle), Err(SettleError), "{settle:?}");
    }
    all_three_again(broker.listen(10).await).await;
}

async fn acks_requested_before_the_close_are_carried_out(broker: &Broker) {
    let mut first = broker.listen(200).await;
    for number in 0..200 {
        broker.send(EXCHANGE, KEY, &format!("n{number}")).await;
    }
    for delivery in first.take(200).await {
        delivery.settle(Settle::Ack).unwrap();
    }
    first.close().await;
    broker.send(EXCHANGE, KEY, "mark").await;
    let mut second = broker.listen(10).await;
    assert_eq!(second.handle().await, Received::text("mark", KEY));
}

async fn a_subscription_is_attached_until_it_is_cancelled(broker: &Broker) {
    let listening = broker.listen(10).await;
    let state = listening.state();
    assert_eq!(*state.borrow(), ConnectionState::Attached);
    listening.cancel().await;
    assert_eq!(*state.borrow(), ConnectionState::Closed);
    assert_eq!(*listening.state().borrow(), ConnectionState::Closed);
}

async fn a_closed_subscription_has_the_state_closed(broker: &Broker) {
    let listening = broker.listen(10).await;
    let state = listening.state();
    listening.close().await;
    assert_eq!(*state.borrow(), ConnectionState::Closed);
}

async fn a_closed_transport_can_send_again(broker: &Broker) {
    broker.send(EXCHANGE, KEY, "a").await;
    broker.close().await;
    broker.close().await;
    broker.send(EXCHANGE, KEY, "b").await;
    let mut listening = broker.listen(10).await;
    assert_eq!(listening.handle_texts(2).await, ["a", "b"]);
}

async fn a_subscription_outlives_its_transport(broker: &Broker) {
    // `listen` drops the transport that it subscribed with.
    let mut listening = broker.listen(10).await;
    broker.close().await;
    broker.send(EXCHANGE, KEY, "a").await;
    assert_eq!(listening.handle().await, Received::text("a", KEY));
}

async fn send_three(broker: &Broker) {
    for body in ["a", "b", "c"] {
        broker.send(EXCHANGE, KEY, body).await;
    }
}

async fn all_three_again(mut listening: Listening) {
    for body in ["a", "b", "c"] {
        assert_eq!(listening.handle().await, Received::text(body, KEY).again());
    }
}
