//! Bytes in flight: AMQP counts deliveries, so the driver adapts the prefetch to their sizes, and
//! replaces consumers for that. The decisions are unit-tested with the prefetch controller.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use lapin::types::AMQPValue;
use listener::options::Executor;
use listener::{Context, Listener, Notifier, Transport, notification_endpoint};
use tokio::sync::Semaphore;

use super::*;

const MIB: usize = 1024 * 1024;

async fn send_sized(rabbit: &Rabbit, count: usize, size: usize) {
    let body = Bytes::from(vec![b'x'; size]);
    for _ in 0..count {
        rabbit.send(topic("").body(body.clone())).await.unwrap();
    }
}

/// Takes `count` deliveries, and settles the oldest whenever at least `least` bytes are unsettled, or
/// all have arrived, and no more arrive. Returns the unsettled bytes before each settlement.
async fn unsettled(subscribed: &mut Subscribed, count: usize, least: usize) -> Vec<usize> {
    const QUIET: Duration = Duration::from_millis(100);
    let (mut held, mut bytes, mut came, mut seen) = (VecDeque::new(), 0, 0, Vec::new());
    while seen.len() < count {
        let delay = if bytes < least && came < count { SOON } else { QUIET };
        if let Ok(delivery) = timeout(delay, subscribed.deliveries.recv()).await {
            let delivery = delivery.unwrap();
            bytes += delivery.body.len();
            came += 1;
            held.push_back(delivery);
            continue;
        }
        assert!(delay == QUIET, "only {bytes} bytes together: {seen:?}");
        if let Some(delivery) = held.pop_front() {
            seen.push(bytes);
            bytes -= delivery.body.len();
            delivery.settle(Settle::Ack).unwrap();
        }
    }
    seen
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn large_deliveries_never_exceed_the_byte_budget() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("bytes").await);
    send_sized(&rabbit, 40, 4 * MIB).await;
    let subscription = subscription(QUEUE).prefetch(100).bytes(32 * MIB);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    // The last deliveries may be held by the replaced consumer: half of the budget is certain.
    let seen = unsettled(&mut subscribed, 40, 16 * MIB).await;
    assert!(seen.iter().all(|bytes| *bytes <= 32 * MIB), "{seen:?}");
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "bytes").await, Some(0));
}

/// Handles nothing before its gate opens.
#[derive(Clone)]
struct Slow {
    gate: Arc<Semaphore>,
    begun: Arc<Mutex<Vec<usize>>>,
}

#[notification_endpoint(register = false, name = "slow")]
impl Slow {
    async fn info(&self, payload: String) {
        // The payload begins with a number.
        let number = payload.trim_end_matches('x').parse().unwrap();
        self.begun.lock().unwrap().push(number);
        let _passed = self.gate.acquire().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_hundred_slow_handlers_hold_no_more_than_the_bytes_in_flight() {
    const COUNT: usize = 16;
    let node = support::shared().await;
    let transport = Transport::open(&node.vhost("slow").await).unwrap();
    let notifier = Notifier::builder(transport.clone()).build().unwrap();
    for number in 0..COUNT {
        // The envelope is less than a kibibyte, and all of it at most 16 MiB.
        let payload = number.to_string() + &"x".repeat(16 * MIB - 1024);
        notifier.info(&Context::new(), "large", &payload).await.unwrap();
    }
    let slow = Slow { gate: Arc::new(Semaphore::new(0)), begun: Arc::default() };
    let builder = Listener::builder().transport(transport).executor(Executor::Concurrent(100));
    let listener = builder.endpoint(slow.clone()).build().unwrap();
    listener.start().await.unwrap();
    let begun = || slow.begun.lock().unwrap().len();
    wait_until("four calls began", SOON, async || begun() == 4).await;
    // The default is 64 MiB. Further deliveries would arrive by the next checks.
    let unsettled =
        ["--formatter", "json", "list_queues", "-p", "slow", "name", "messages_unacknowledged"];
    for _ in 0..3 {
        let queues: serde_json::Value = serde_json::from_str(&node.ctl(&unsettled).await).unwrap();
        let held = queues.as_array().unwrap().iter().find(|queue| queue["name"] == QUEUE);
        assert_eq!(held.unwrap()["messages_unacknowledged"], 4);
        assert_eq!(begun(), 4);
    }
    slow.gate.add_permits(COUNT);
    wait_until("all calls began", 3 * SOON, async || begun() == COUNT).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    let mut handled = slow.begun.lock().unwrap().clone();
    handled.sort_unstable();
    assert_eq!(handled, (0..COUNT).collect::<Vec<_>>(), "each once");
    assert_eq!(depth(node, "slow").await, Some(0));
}

/// A new consumer would hand the queue to the other process while the first one still holds deliveries.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_single_active_consumer_keeps_its_queue_while_the_prefetch_grows() {
    const COUNT: u32 = 200;
    let node = support::shared().await;
    for kind in ["classic", "quorum"] {
        let url = node.vhost(&format!("single_{kind}")).await;
        let amqp = Amqp::connect(&url).await;
        amqp.declare_queue(QUEUE, true, &[SINGLE, text("x-queue-type", kind)]).await;
        let subscription = subscription(QUEUE).prefetch(50).bytes(64 * MIB);
        let (one, other) = (rabbit(&url), rabbit(&url));
        let mut first = one.subscribe(subscription.clone()).await.unwrap();
        let mut second = other.subscribe(subscription).await.unwrap();
        for number in 0..COUNT {
            send(&one, &number.to_string()).await;
        }
        for number in 0..COUNT {
            let delivery = next(&mut first).await;
            assert_eq!(delivery.body, number.to_string());
            delivery.settle(Settle::Ack).unwrap();
        }
        first.consumer.close().await;
        send(&one, "next").await;
        assert_eq!(next(&mut second).await.body, "next");
    }
}

const SINGLE: (&str, AMQPValue) = ("x-single-active-consumer", AMQPValue::Boolean(true));

fn text(name: &'static str, value: &'static str) -> (&'static str, AMQPValue) {
    (name, AMQPValue::LongString(value.into()))
}

/// The prefetch shows it: it starts low unless the queue has a single active consumer.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_single_active_consumer_queue_is_recognized_with_any_other_arguments() {
    let node = support::shared().await;
    let url = node.vhost("asked").await;
    let amqp = Amqp::connect(&url).await;
    let number = |name, value| (name, AMQPValue::LongInt(value));
    let others = [
        number("x-expires", 600_000),
        number("x-message-ttl", 60_000),
        number("x-max-length", 1000),
        text("x-overflow", "reject-publish"),
        text("x-dead-letter-exchange", "dead"),
        ("x-max-priority", AMQPValue::ShortShortUInt(3)),
    ];
    let quorum = [
        text("x-queue-type", "quorum"),
        number("x-delivery-limit", 20),
        text("x-dead-letter-exchange", "dead"),
        number("x-max-length", 1000),
    ];
    for (queue, arguments, prefetch) in [
        ("plain", Vec::new(), 4),
        ("single", vec![SINGLE], 100),
        ("others", others.to_vec(), 4),
        ("single and others", [&others[..], &[SINGLE]].concat(), 100),
        ("quorum", quorum.to_vec(), 4),
        ("single quorum", [&quorum[..], &[SINGLE]].concat(), 100),
    ] {
        for durable in [true, false] {
            if !durable && queue.contains("quorum") {
                continue;
            }
            let queue = if durable { queue.to_owned() } else { format!("transient {queue}") };
            amqp.declare_queue(&queue, durable, &arguments).await;
            assert_eq!(first_prefetch(node, &rabbit(&url), &queue).await, prefetch, "{queue}");
        }
    }
    // The queue may be replaced by another one of the same name.
    let driver = rabbit(&url);
    assert_eq!(first_prefetch(node, &driver, "plain").await, 4);
    amqp.delete_queue("plain").await;
    amqp.declare_queue("plain", true, &[SINGLE]).await;
    assert_eq!(first_prefetch(node, &driver, "plain").await, 100);
    // A user that may not declare cannot probe, and starts with the whole prefetch.
    node.ctl(&["set_permissions", "-p", "asked", "guest", "^$", ".*", ".*"]).await;
    assert_eq!(first_prefetch(node, &rabbit(&url), "others").await, 100);
}

/// The initial prefetch of a queue in the virtual host `asked`, for a subscription with 100.
async fn first_prefetch(node: &RabbitNode, rabbit: &Rabbit, queue: &str) -> u16 {
    let subscription = subscription(queue).prefetch(100).bytes(64 * MIB);
    let subscribed = rabbit.subscribe(subscription).await.unwrap();
    let list = ["list_consumers", "-p", "asked", "queue_name", "prefetch_count"];
    let consumers = node.ctl(&list).await;
    subscribed.consumer.close().await;
    let of_queue = consumers.lines().find_map(|line| line.strip_prefix(queue));
    of_queue.expect("a consumer of the queue").trim().parse().unwrap()
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn small_deliveries_reach_the_whole_prefetch() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("small").await);
    send_sized(&rabbit, 300, 1000).await;
    let subscription = subscription(QUEUE).prefetch(100).bytes(32 * MIB);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let mut held = Vec::new();
    while held.len() < 100 {
        held.push(next(&mut subscribed).await);
    }
    let more = timeout(Duration::from_millis(500), subscribed.deliveries.recv()).await;
    assert!(more.is_err(), "no more than the prefetch");
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
async fn a_delivery_larger_than_the_budget_is_delivered() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("larger").await);
    send_sized(&rabbit, 8, 2 * MIB).await;
    let subscription = subscription(QUEUE).prefetch(100).bytes(MIB);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    for _ in 0..8 {
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
    assert_eq!(depth(node, "larger").await, Some(0));
}

/// To cancel its last consumer would delete the queue with its messages.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_auto_delete_queue_survives_an_adjustment_of_the_prefetch() {
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
    let subscription = subscription(QUEUE).prefetch(10).bytes(4 * MIB);
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < 30 {
        let delivery = next(&mut subscribed).await;
        numbers.push(delivery.body[0]);
        delivery.settle(Settle::Ack).unwrap();
    }
    assert_eq!(numbers, (0..30).collect::<Vec<u8>>(), "all of them, in order");
    assert_eq!(*subscribed.consumer.state().borrow(), ConnectionState::Attached);
}
