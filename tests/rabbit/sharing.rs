//! How many deliveries a listener prefetches: as many as it works on, and more if methods are quick, so
//! that several listeners share a queue, and none keeps deliveries waiting for long. The calculation of
//! the pace is unit-tested with `pace.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lapin::types::AMQPValue;
use listener::options::Executor;
use listener::options::{ListenerOptions, RetryOptions};
use listener::{Context, Listener, Notifier, OrderKey, Outcome, Transport, notification_endpoint};
use tokio::sync::Semaphore;

use super::*;

/// Handles nothing before its gate opens.
#[derive(Clone)]
struct Gated {
    gate: Arc<Semaphore>,
    begun: Arc<Mutex<Vec<u32>>>,
}

impl Gated {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), begun: Arc::default() }
    }

    fn count(&self) -> usize {
        self.begun.lock().unwrap().len()
    }
}

#[notification_endpoint(register = false, name = "gated")]
impl Gated {
    async fn info(&self, payload: u32) {
        self.begun.lock().unwrap().push(payload);
        self.gate.acquire().await.unwrap().forget();
    }
}

async fn send_numbers(url: &str, numbers: std::ops::Range<u32>) {
    let notifier = Notifier::builder(Transport::open(url).unwrap()).build().unwrap();
    for number in numbers {
        notifier.info(&Context::new(), "number", &number).await.unwrap();
    }
}

fn listener(url: &str, executor: Executor, gated: &Gated) -> Listener {
    let builder = Listener::builder().transport(Transport::open(url).unwrap());
    builder.executor(executor).endpoint(gated.clone()).build().unwrap()
}

/// How many messages of the queue are unacknowledged.
async fn unacknowledged(node: &RabbitNode, vhost: &str) -> u64 {
    let list =
        ["--formatter", "json", "list_queues", "-p", vhost, "name", "messages_unacknowledged"];
    let queues: serde_json::Value = serde_json::from_str(&node.ctl(&list).await).unwrap();
    let held = queues.as_array().unwrap().iter().find(|queue| queue["name"] == QUEUE);
    held.unwrap()["messages_unacknowledged"].as_u64().unwrap()
}

async fn stop(listener: &Listener) {
    listener.stop().await;
    listener.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn slow_methods_leave_waiting_messages_to_other_listeners() {
    const COUNT: u32 = 100;
    let node = support::shared().await;
    let url = node.vhost("shared").await;
    send_numbers(&url, 0..COUNT).await;
    let (first, second) = (Gated::new(), Gated::new());
    let one = listener(&url, Executor::Concurrent(8), &first);
    one.start().await.unwrap();
    // With 8 or more slots, no priority takes the last eighth.
    wait_until("seven calls began", SOON, async || first.count() == 7).await;
    // The first deliveries may be held in addition to as many as there are slots.
    let held = unacknowledged(node, "shared").await;
    assert!((7..=12).contains(&held), "{held}");
    let other = listener(&url, Executor::Sequential, &second);
    other.start().await.unwrap();
    wait_until("a call of the other began", SOON, async || second.count() == 1).await;
    assert_eq!(unacknowledged(node, "shared").await, held + 1);
    first.gate.add_permits(COUNT as usize);
    second.gate.add_permits(COUNT as usize);
    let all = async || first.count() + second.count() == COUNT as usize;
    wait_until("all calls began", SOON, all).await;
    stop(&one).await;
    stop(&other).await;
    assert_eq!(depth(node, "shared").await, Some(0));
}

/// Deliveries left to the broker reach no consumer timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn slow_ordered_methods_leave_waiting_messages_to_other_listeners() {
    const COUNT: u32 = 400;
    let node = support::shared().await;
    let url = node.vhost("in_order").await;
    send_numbers(&url, 0..COUNT).await;
    let (first, second) = (Gated::new(), Gated::new());
    let builder = Listener::builder().transport(Transport::open(&url).unwrap());
    let builder = builder.executor(Executor::Concurrent(8)).ordered_by(OrderKey::EventType);
    let one = builder.endpoint(first.clone()).build().unwrap();
    one.start().await.unwrap();
    wait_until("the first call began", SOON, async || first.count() == 1).await;
    // The first call does not end, and the others wait for it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let held = unacknowledged(node, "in_order").await;
    assert!((2..=12).contains(&held), "{held}");
    second.gate.add_permits(COUNT as usize);
    let other = listener(&url, Executor::Concurrent(8), &second);
    other.start().await.unwrap();
    let rest = COUNT as usize - usize::try_from(held).unwrap();
    wait_until("the other has the rest", SOON, async || second.count() == rest).await;
    assert_eq!(first.count(), 1);
    first.gate.add_permits(COUNT as usize);
    let all = async || first.count() + second.count() == COUNT as usize;
    wait_until("all calls began", SOON, all).await;
    let begun = first.begun.lock().unwrap().clone();
    assert!(begun.is_sorted(), "not in order: {begun:?}");
    stop(&one).await;
    stop(&other).await;
    assert_eq!(depth(node, "in_order").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn quick_ordered_methods_prefetch_more_than_they_work_on() {
    const COUNT: u32 = 5000;
    let node = support::shared().await;
    let url = node.vhost("quick_in_order").await;
    send_numbers(&url, 0..COUNT).await;
    let gated = Gated::new();
    gated.gate.add_permits(COUNT as usize);
    let builder = Listener::builder().transport(Transport::open(&url).unwrap());
    let builder = builder.executor(Executor::Concurrent(8)).ordered_by(OrderKey::EventType);
    let listener = builder.endpoint(gated.clone()).build().unwrap();
    listener.start().await.unwrap();
    wait_until("all calls began", SOON, async || gated.count() == COUNT as usize).await;
    let list = ["list_consumers", "-p", "quick_in_order", "queue_name", "prefetch_count"];
    let consumers = node.ctl(&list).await;
    let prefetch = consumers.lines().find_map(|line| line.strip_prefix(QUEUE)).unwrap();
    let prefetch: u16 = prefetch.trim().parse().unwrap();
    assert!(prefetch >= 20, "{prefetch}");
    assert_eq!(*gated.begun.lock().unwrap(), (0..COUNT).collect::<Vec<_>>(), "in order");
    stop(&listener).await;
}

/// Waits for its retry in the process and without a slot, because the queue is temporary.
#[derive(Clone, Default)]
struct Waiting(Arc<AtomicUsize>);

#[notification_endpoint(register = false, name = "waiting", event_type = "^fails$")]
impl Waiting {
    async fn info(&self) -> Result<(), &'static str> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err("the backend is away")
    }
}

#[derive(Clone, Default)]
struct Healthy(Arc<AtomicUsize>);

#[notification_endpoint(register = false, name = "healthy", event_type = "^works$")]
impl Healthy {
    async fn info(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn deliveries_that_wait_without_a_slot_let_others_pass() {
    const COUNT: usize = 60;
    let node = support::shared().await;
    let url = node.vhost("past").await;
    let transport = Transport::open(&url).unwrap();
    let (waiting, healthy) = (Waiting::default(), Healthy::default());
    let retry = RetryOptions::default().delay(LONG).max_delay(LONG);
    let listener = Listener::builder()
        .transport(transport.clone())
        .executor(Executor::Concurrent(4))
        .temporary_pool("past", LONG)
        .retry(retry)
        .endpoint(waiting.clone())
        .endpoint(healthy.clone())
        .build()
        .unwrap();
    listener.start().await.unwrap();
    let notifier = Notifier::builder(transport).build().unwrap();
    for _ in 0..COUNT {
        notifier.info(&Context::new(), "fails", &()).await.unwrap();
    }
    for _ in 0..COUNT {
        notifier.info(&Context::new(), "works", &()).await.unwrap();
    }
    let all = async || healthy.0.load(Ordering::Relaxed) == COUNT;
    wait_until("the others are handled", SOON, all).await;
    assert_eq!(waiting.0.load(Ordering::Relaxed), COUNT);
    stop(&listener).await;
}

/// Longer than the test.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn quick_methods_prefetch_more_than_they_work_on() {
    const COUNT: u32 = 5000;
    let node = support::shared().await;
    for (name, query) in [("quick", ""), ("quick_quorum", "?rabbit_quorum_queue=true")] {
        let url = node.vhost(name).await + query;
        send_numbers(&url, 0..COUNT).await;
        let gated = Gated::new();
        gated.gate.add_permits(COUNT as usize);
        let listener = listener(&url, Executor::Sequential, &gated);
        listener.start().await.unwrap();
        wait_until("all calls began", SOON, async || gated.count() == COUNT as usize).await;
        let list = ["list_consumers", "-p", name, "queue_name", "prefetch_count"];
        let consumers = node.ctl(&list).await;
        let prefetch = consumers.lines().find_map(|line| line.strip_prefix(QUEUE)).unwrap();
        // The pace depends on the machine.
        let prefetch: u16 = prefetch.trim().parse().unwrap();
        assert!(prefetch >= 20, "{name}: {prefetch}");
        assert_eq!(*gated.begun.lock().unwrap(), (0..COUNT).collect::<Vec<_>>(), "in order");
        stop(&listener).await;
    }
}

/// Takes half a second, and records the payload.
#[derive(Clone, Default)]
struct HalfASecond(Arc<Mutex<Vec<u32>>>);

#[notification_endpoint(register = false, name = "half-a-second")]
impl HalfASecond {
    async fn info(&self, payload: u32) {
        self.0.lock().unwrap().push(payload);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// RabbitMQ closes the channel of a consumer that keeps a delivery unsettled for longer than 5 s; all of
/// these together take twice as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn deliveries_waiting_to_begin_do_not_reach_the_consumer_timeout() {
    const COUNT: u32 = 20;
    let node = RabbitNode::start().await;
    for (name, value) in [("consumer_timeout", 5000), ("channel_tick_interval", 500)] {
        let set = format!("application:set_env(rabbit, {name}, {value})");
        node.eval(&set).await;
    }
    // Classic queues have no such timeout from RabbitMQ 4.3 on.
    let url = format!("{}?rabbit_quorum_queue=true&amqp_durable_queues=true", node.url());
    send_numbers(&url, 0..COUNT).await;
    let slow = HalfASecond::default();
    let builder = Listener::builder().transport(Transport::open(&url).unwrap());
    let listener = builder.executor(Executor::Sequential).endpoint(slow.clone()).build().unwrap();
    listener.start().await.unwrap();
    let all = async || slow.0.lock().unwrap().len() >= COUNT as usize;
    wait_until("all are handled", 3 * SOON, all).await;
    stop(&listener).await;
    assert_eq!(*slow.0.lock().unwrap(), (0..COUNT).collect::<Vec<_>>(), "each once");
}

/// Gives up every notification.
#[derive(Clone, Default)]
struct GivesUp(Arc<AtomicUsize>);

#[notification_endpoint(register = false, name = "gives-up", order = 1)]
impl GivesUp {
    async fn info(&self) -> Outcome {
        self.0.fetch_add(1, Ordering::Relaxed);
        Outcome::dead_letter("no")
    }
}

/// Handles every notification.
#[derive(Clone, Default)]
struct Handles(Arc<AtomicUsize>);

#[notification_endpoint(register = false, name = "handles", order = 2)]
impl Handles {
    async fn info(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The dead-letter queue stays full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_delivery_whose_dead_letter_queue_is_full_does_not_reach_the_consumer_timeout() {
    let node = RabbitNode::start().await;
    for (name, value) in [("consumer_timeout", 10_000), ("channel_tick_interval", 500)] {
        let set = format!("application:set_env(rabbit, {name}, {value})");
        node.eval(&set).await;
    }
    let url = format!("{}?rabbit_quorum_queue=true&amqp_durable_queues=true", node.url());
    let amqp = Amqp::connect(&node.url()).await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    amqp.declare_queue("notifications.info.dead", true, &full).await;
    let (gives_up, handles) = (GivesUp::default(), Handles::default());
    // An attempt to send it runs to its timeout, also beyond `hold`.
    let options = ListenerOptions::default()
        .send_timeout(Duration::from_secs(3))
        .retry(RetryOptions::default().hold(Duration::from_secs(2)));
    let builder = Listener::builder().transport(Transport::open(&url).unwrap()).options(options);
    let builder = builder.endpoint(gives_up.clone()).endpoint(handles.clone());
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    send_numbers(&url, 0..1).await;
    let many = async || gives_up.0.load(Ordering::Relaxed) >= 6;
    wait_until("it is given up for longer than the timeout", SOON, many).await;
    stop(&listener).await;
    assert_eq!(handles.0.load(Ordering::Relaxed), 1);
}

/// The subscription with this many slots, and the deliveries that it prefetches.
async fn held_by(driver: &Rabbit, slots: usize) -> (Subscribed, Vec<Delivery>) {
    let mut subscribed = driver.subscribe(paced(slots)).await.unwrap();
    let mut held = Vec::new();
    let wait = Duration::from_secs(3);
    while let Ok(Some(delivery)) = timeout(wait, subscribed.deliveries.recv()).await {
        held.push(delivery);
    }
    (subscribed, held)
}

fn paced(slots: usize) -> Subscription {
    let bytes = 64 * 1024 * 1024;
    subscription(QUEUE).prefetch(1000).bytes(bytes).slots(Some(slots))
}

/// A user that may not declare cannot find out whether a queue has a single active consumer.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_read_only_account_prefetches_no_more_than_it_works_on() {
    let node = support::shared().await;
    let url = mistakes::user(node, "read_only", "^$", "^$", ".*").await;
    let amqp = Amqp::connect(&node.vhost("read_only").await).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue(QUEUE, true, &[]).await;
    for _ in 0..100 {
        amqp.publish("", QUEUE, "{}", lapin::BasicProperties::default()).await;
    }
    let (_subscribed, held) = held_by(&rabbit(&url), 1).await;
    assert_eq!(held.len(), 1);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_read_only_account_keeps_its_single_active_consumer() {
    let node = support::shared().await;
    let url = mistakes::user(node, "read_only_single", "^$", "^$", ".*").await;
    let amqp = Amqp::connect(&node.vhost("read_only_single").await).await;
    amqp.declare_exchange("nova", true).await;
    let single = ("x-single-active-consumer", AMQPValue::Boolean(true));
    amqp.declare_queue(QUEUE, true, &[single]).await;
    let (one, two) = (rabbit(&url), rabbit(&url));
    let mut first = one.subscribe(paced(64)).await.unwrap();
    let mut held = Vec::new();
    let (mut second, _) = held_by(&two, 64).await;
    for _ in 0..4 {
        amqp.publish("", QUEUE, "{}", lapin::BasicProperties::default()).await;
        held.push(next(&mut first).await);
    }
    // Longer than the interval at which the pace is evaluated.
    tokio::time::sleep(Duration::from_secs(2)).await;
    amqp.publish("", QUEUE, "{}", lapin::BasicProperties::default()).await;
    let other = timeout(Duration::from_secs(1), second.deliveries.recv()).await;
    assert!(other.is_err(), "another consumer received it while four are in work");
    next(&mut first).await;
}
