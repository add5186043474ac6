//! The order of a queue under other activity: a stop with a standby consumer or a publisher, and a
//! prefetch that grows while messages arrive.

use super::*;
use lapin::options::BasicPublishOptions;
use lapin::types::AMQPValue;
use support::amqp::oslo_properties;
use support::{Proxy, Toxics};
use tokio::task::JoinHandle;

/// Declares a durable queue of this type.
async fn declare(amqp: &Amqp, queue: &str, queue_type: &str, is_single: bool) {
    let arguments = [
        ("x-queue-type", AMQPValue::LongString(queue_type.into())),
        ("x-single-active-consumer", AMQPValue::Boolean(is_single)),
    ];
    amqp.declare_queue(queue, true, &arguments[..if is_single { 2 } else { 1 }]).await;
}

/// Publishes this many numbers and waits until all are confirmed. A broker whose quorum queue does not
/// answer keeps the connection in flow control for ever.
async fn publish_all(url: &str, count: usize) {
    let published = publish(url, QUEUE.to_owned(), count, Duration::ZERO);
    timeout(SOON, published).await.expect("the broker confirms in time").unwrap();
}

/// Publishes the numbers from 0 on, with a delay after each.
fn publish(url: &str, queue: String, count: usize, delay: Duration) -> JoinHandle<()> {
    let url = url.to_owned();
    tokio::spawn(async move {
        let amqp = Amqp::connect(&url).await;
        for number in 0..count {
            let (body, properties) = (number.to_string(), oslo_properties(&[]));
            let (options, queue) = (BasicPublishOptions::default(), queue.as_str().into());
            let sent = amqp.channel().basic_publish(
                "".into(),
                queue,
                options,
                body.as_bytes(),
                properties,
            );
            drop(sent.await.unwrap());
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
        }
        amqp.channel().wait_for_confirms().await.unwrap();
        amqp.close().await;
    })
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_single_active_consumer_hands_over_in_order_at_a_stop() {
    const SENT: usize = 1500;
    let node = support::shared().await;
    for (queue_type, is_fitted) in
        [("classic", false), ("classic", true), ("quorum", false), ("quorum", true)]
    {
        let context = format!("{queue_type}, fitted: {is_fitted}");
        let url = node.vhost(&format!("hands over {context}")).await;
        let amqp = Amqp::connect(&url).await;
        declare(&amqp, QUEUE, queue_type, true).await;
        publish_all(&url, SENT).await;
        let subscription = || {
            subscription(QUEUE).prefetch(1000).bytes(if is_fitted {
                64 * 1024 * 1024
            } else {
                usize::MAX
            })
        };
        let (active, standby) = (rabbit(&url), rabbit(&url));
        let mut first = active.subscribe(subscription()).await.unwrap();
        let mut second = standby.subscribe(subscription()).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..1000 {
            held.push(next(&mut first).await);
        }
        first.consumer.close().await;
        drop(held);
        for number in 0..SENT {
            let delivery = next(&mut second).await;
            assert_eq!(delivery.body, number.to_string(), "{context}");
            delivery.settle(Settle::Ack).unwrap();
        }
        second.consumer.close().await;
        amqp.close().await;
    }
}

/// The publisher continues across all stops, and the prefetch is never reached.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quorum_queue_keeps_its_order_at_a_stop_during_publishing() {
    const STOPS: usize = 4;
    let node = support::shared().await;
    let url = node.vhost("publishes at a stop").await;
    let amqp = Amqp::connect(&url).await;
    declare(&amqp, QUEUE, "quorum", false).await;
    let publisher = publish(&url, QUEUE.to_owned(), usize::MAX, Duration::from_millis(1));
    let rabbit = rabbit(&url);
    let mut numbers = 0_usize..;
    for _ in 0..=STOPS {
        let wide = subscription(QUEUE).prefetch(20_000);
        let mut subscribed = rabbit.subscribe(wide).await.unwrap();
        for number in numbers.by_ref().take(1000) {
            let delivery = next(&mut subscribed).await;
            assert_eq!(delivery.body, number.to_string());
            delivery.settle(Settle::Ack).unwrap();
        }
        subscribed.consumer.close().await;
    }
    publisher.abort();
    amqp.close().await;
}

/// The prefetch starts low and grows with the pace, while messages arrive one by one.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quorum_queue_keeps_its_order_while_its_prefetch_grows_during_publishing() {
    const SENT: usize = 1200;
    let node = support::shared().await;
    let url = node.vhost("grows and publishes").await;
    let amqp = Amqp::connect(&url).await;
    let rabbit = rabbit(&url);
    let starts = [1, 1, 1, 1, 8, 64].into_iter().enumerate().map(async |(number, slots)| {
        let queue = format!("{QUEUE}.{number}");
        declare(&amqp, &queue, "quorum", false).await;
        let paced = subscription(&queue).prefetch(1000).bytes(64 * 1024 * 1024).slots(Some(slots));
        let mut subscribed = rabbit.subscribe(paced).await.unwrap();
        let publisher = publish(&url, queue.clone(), SENT, Duration::from_millis(2));
        for number in 0..SENT {
            let delivery = next(&mut subscribed).await;
            assert_eq!(delivery.body, number.to_string(), "{queue}");
            assert!(!delivery.info.redelivered, "{queue}: {number}");
            if number % 50 < 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            delivery.settle(Settle::Ack).unwrap();
        }
        publisher.await.unwrap();
        subscribed.consumer.close().await;
    });
    futures_util::future::join_all(starts).await;
    amqp.close().await;
}

/// The first delivery raises the prefetch, so the consumer is replaced; over a slow link the stop falls
/// between two steps of that. Each stop must leave the queue in order.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_keeps_its_order_at_a_stop_while_its_consumer_is_replaced() {
    const DELAYS: [u64; 5] = [0, 150, 250, 350, 500];
    let node = support::shared().await;
    let proxy = Proxy::start(node.port()).await;
    proxy.toxics(Toxics { latency: Duration::from_millis(50), ..Toxics::default() });
    let cases = ["classic", "quorum"].into_iter().flat_map(|queue| [(queue, false), (queue, true)]);
    let stops = cases.map(async |(queue_type, is_cancelled)| {
        let context = format!("{queue_type}, cancelled: {is_cancelled}");
        let url = node.vhost(&format!("replaced {context}")).await;
        let amqp = Amqp::connect(&url).await;
        declare(&amqp, QUEUE, queue_type, false).await;
        publish_all(&url, 50).await;
        let rabbit =
            rabbit(&url.replace(&format!(":{}", node.port()), &format!(":{}", proxy.port())));
        for (number, delay) in DELAYS.into_iter().enumerate() {
            let paced = subscription(QUEUE).slots(Some(4)).bytes(1024 * 1024);
            let mut subscribed = rabbit.subscribe(paced).await.unwrap();
            let delivery = next(&mut subscribed).await;
            assert_eq!(delivery.body, number.to_string(), "{context}");
            tokio::time::sleep(Duration::from_millis(delay)).await;
            if is_cancelled {
                subscribed.consumer.cancel().await;
            }
            delivery.settle(Settle::Ack).unwrap();
            subscribed.consumer.close().await;
        }
        let mut subscribed = subscribe(&rabbit).await;
        for number in DELAYS.len()..50 {
            let delivery = next(&mut subscribed).await;
            assert_eq!(delivery.body, number.to_string(), "{context}");
            delivery.settle(Settle::Ack).unwrap();
        }
        subscribed.consumer.close().await;
        amqp.close().await;
    });
    futures_util::future::join_all(stops).await;
}
