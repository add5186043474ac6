//! Bytes in flight: AMQP counts deliveries, so the driver fits their number to the sizes that
//! come. What it decides is tested beside `window.rs`.

use std::collections::VecDeque;

use super::*;

const MIB: usize = 1024 * 1024;

async fn send_sized(rabbit: &Rabbit, count: usize, size: usize) {
    let body = Bytes::from(vec![b'x'; size]);
    for _ in 0..count {
        rabbit.send(Outgoing { body: body.clone(), ..topic("") }).await.unwrap();
    }
}

/// Takes so many, settling the oldest whenever nothing more comes; how many bytes were unsettled
/// before each was settled.
async fn unsettled(subscribed: &mut Subscribed, count: usize) -> Vec<usize> {
    const QUIET: Duration = Duration::from_millis(100);
    let (mut held, mut bytes, mut seen) = (VecDeque::new(), 0, Vec::new());
    let end = tokio::time::Instant::now() + 2 * SOON;
    while seen.len() < count {
        assert!(tokio::time::Instant::now() < end, "{} of {count} came", seen.len());
        if let Ok(delivery) = timeout(QUIET, subscribed.deliveries.recv()).await {
            let delivery = delivery.unwrap();
            bytes += delivery.body.len();
            held.push_back(delivery);
        } else if let Some(delivery) = held.pop_front() {
            seen.push(bytes);
            bytes -= delivery.body.len();
            delivery.settle(Settle::Ack).unwrap();
        }
    }
    seen
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn large_deliveries_take_the_budget_once_the_first_have_shown_their_size() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("bytes").await);
    send_sized(&rabbit, 40, 4 * MIB).await;
    let subscription = Subscription { prefetch: 10, bytes: 16 * MIB, ..subscription(QUEUE) };
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let seen = unsettled(&mut subscribed, 40).await;
    // What the broker had sent before: a whole prefetch at most.
    let (first, rest) = seen.split_at(10);
    assert!(first.iter().all(|bytes| *bytes <= 40 * MIB), "{first:?}");
    // From then on the budget, and the one more that is let through while it is used up.
    assert!(rest.iter().all(|bytes| *bytes <= 20 * MIB), "{rest:?}");
    assert!(rest.iter().any(|bytes| *bytes >= 12 * MIB), "hardly anything at once: {rest:?}");
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "bytes").await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn small_deliveries_reach_the_whole_prefetch() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("small").await);
    send_sized(&rabbit, 300, 1000).await;
    let subscription = Subscription { prefetch: 100, bytes: 32 * MIB, ..subscription(QUEUE) };
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let mut held = Vec::new();
    while let Ok(delivery) = timeout(Duration::from_millis(500), subscribed.deliveries.recv()).await
    {
        held.push(delivery.unwrap());
    }
    assert_eq!(held.len(), 100);
    for delivery in held {
        delivery.settle(Settle::Ack).unwrap();
    }
    for _ in 0..200 {
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "small").await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_delivery_that_is_larger_than_the_budget_comes_all_the_same() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("larger").await);
    send_sized(&rabbit, 8, 2 * MIB).await;
    let subscription = Subscription { prefetch: 100, bytes: MIB, ..subscription(QUEUE) };
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    for _ in 0..8 {
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "larger").await, Some(0));
}

/// To cancel its last consumer would delete it, with all that waits in it.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_goes_with_its_last_consumer_stays_when_the_prefetch_is_fitted() {
    let node = support::shared().await;
    let url = node.vhost("auto_delete").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    let options = lapin::options::QueueDeclareOptions {
        auto_delete: true,
        ..lapin::options::QueueDeclareOptions::default()
    };
    let declared = amqp.channel().queue_declare(QUEUE.into(), options, Default::default());
    declared.await.unwrap();
    for number in 0..30_u8 {
        let body = vec![number; MIB];
        amqp.publish("", QUEUE, body, lapin::BasicProperties::default()).await;
    }
    let subscription = Subscription { prefetch: 10, bytes: 4 * MIB, ..subscription(QUEUE) };
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < 30 {
        let delivery = next(&mut subscribed).await;
        numbers.push(delivery.body[0]);
        delivery.settle(Settle::Ack).unwrap();
    }
    assert_eq!(numbers, (0..30).collect::<Vec<u8>>(), "all of them, in their order");
    assert_eq!(*subscribed.consumer.state().borrow(), ConnectionState::Attached);
}
