//! Retries, dead letters and poison of a whole listener on a real node: the counterpart of `tests/flow`
//! with the queues, counts and headers of RabbitMQ.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use listener::options::RetryOptions;
use listener::{Attempt, Context, Listener, Notifier, Transport, notification_endpoint};
use tokio::sync::mpsc;

use super::*;

/// Fails at the first call for an odd number, and always for 100.
#[derive(Clone, Default)]
struct Odd(Arc<Mutex<BTreeMap<u32, Vec<u32>>>>);

#[notification_endpoint(register = false, name = "odd")]
impl Odd {
    async fn info(&self, payload: u32, attempt: Attempt) -> Result<(), &'static str> {
        self.0.lock().unwrap().entry(payload).or_default().push(attempt.0);
        match payload {
            100 => Err("never"),
            odd if odd % 2 == 1 && attempt.0 == 1 => Err("not yet"),
            _ => Ok(()),
        }
    }
}

/// Handles everything.
#[derive(Clone, Default)]
struct All(Arc<Mutex<Vec<u32>>>);

#[notification_endpoint(register = false, name = "all")]
impl All {
    async fn info(&self, payload: u32) {
        self.0.lock().unwrap().push(payload);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn only_the_methods_that_failed_are_retried_and_then_dead_lettered() {
    let node = support::shared().await;
    let url = node.vhost("retry").await;
    let transport = Transport::open(&url).unwrap();
    let (odd, all) = (Odd::default(), All::default());
    let retry = RetryOptions::default().attempts(2);
    let builder = Listener::builder().transport(transport.clone()).retry(retry);
    let listener = builder.endpoint(odd.clone()).endpoint(all.clone()).build().unwrap();
    listener.start().await.unwrap();
    let notifier = Notifier::builder(transport).build().unwrap();
    for number in [0, 1, 2, 3, 100] {
        notifier.info(&Context::new(), "x", &number).await.unwrap();
    }
    let calls = || odd.0.lock().unwrap().values().map(Vec::len).sum::<usize>();
    wait_until("the second calls", SOON, async || calls() == 8).await;
    wait_until("the dead letter", SOON, async || {
        node.queue_depth("retry", "notifications.info.dead").await == Some(1)
    })
    .await;
    let expected =
        [(0, vec![1]), (1, vec![1, 2]), (2, vec![1]), (3, vec![1, 2]), (100, vec![1, 2])];
    assert_eq!(*odd.0.lock().unwrap(), BTreeMap::from(expected));
    let mut handled = all.0.lock().unwrap().clone();
    handled.sort_unstable();
    assert_eq!(handled, [0, 1, 2, 3, 100], "no other method is called again");
    listener.stop().await;
    listener.wait().await.unwrap();
    let dead_letters = Amqp::connect(&url).await.drain("notifications.info.dead").await;
    let headers = dead_letters[0].delivery.properties.headers().clone().unwrap();
    let text = |name: &str| match headers.inner().get(name) {
        Some(lapin::types::AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(text("listener-reason"), "error");
    assert_eq!(text("listener-error"), "odd::info: never");
    assert_eq!(text("listener-exchange"), "openstack");
    assert_eq!(text("listener-routing-key"), "notifications.info");
    assert_eq!(depth(node, "retry").await, Some(0));
}

/// Ends its process for the number 7.
struct Dies {
    handled: mpsc::UnboundedSender<u32>,
    crash: mpsc::UnboundedSender<()>,
}

#[notification_endpoint(register = false, name = "crashes")]
impl Dies {
    async fn info(&self, payload: u32) {
        if payload == 7 {
            let _ = self.crash.send(());
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = self.handled.send(payload);
    }
}

/// The same endpoint with its bug fixed.
#[derive(Clone, Default)]
struct Fixed(Arc<Mutex<Vec<u32>>>);

#[notification_endpoint(register = false, name = "crashes")]
impl Fixed {
    async fn info(&self, payload: u32) {
        self.0.lock().unwrap().push(payload);
    }
}

/// Runs a process until it handles the number 7, or until the dead letter exists. Then its tasks are
/// dropped.
fn run_process(
    url: &str,
    handled: &mpsc::UnboundedSender<u32>,
    is_over: impl AsyncFn() -> bool,
) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let crashed = runtime.block_on(async {
        let (crash, mut crashed) = mpsc::unbounded_channel();
        let crashes = Dies { handled: handled.clone(), crash };
        let builder = Listener::builder().transport(Transport::open(url).unwrap()).prefetch(50);
        let listener = builder.endpoint(crashes).build().unwrap();
        listener.start().await.unwrap();
        tokio::select! {
            _ = crashed.recv() => true,
            () = wait_until("a crash, or the dead letter", SOON, is_over) => {
                listener.stop().await;
                listener.wait().await.unwrap();
                false
            }
        }
    });
    runtime.shutdown_background();
    crashed
}

async fn poison(vhost: &str, options: &str) {
    let node = support::shared().await;
    let url = format!("{}?{options}", node.vhost(vhost).await);
    let notifier = Notifier::builder(Transport::open(&url).unwrap()).build().unwrap();
    for number in 0..50_u32 {
        notifier.info(&Context::new(), "x", &number).await.unwrap();
    }
    let (handled, mut handled_numbers) = mpsc::unbounded_channel();
    let (again, queues) = (url.clone(), vhost.to_owned());
    let crashes = tokio::task::spawn_blocking(move || {
        let is_over = async || {
            node.queue_depth(&queues, "notifications.info.dead").await == Some(1)
                && node.queue_depth(&queues, "notifications.info").await == Some(0)
                && node.queue_depth(&queues, "notifications.info.quarantine").await == Some(0)
        };
        let mut crashes = 0;
        while run_process(&again, &handled, is_over) {
            crashes += 1;
            assert!(crashes < 12, "it is never given up");
        }
        crashes
    })
    .await
    .unwrap();
    let mut numbers = std::collections::BTreeSet::new();
    while let Ok(number) = handled_numbers.try_recv() {
        numbers.insert(number);
    }
    let expected: std::collections::BTreeSet<u32> = (0..50).filter(|number| *number != 7).collect();
    assert_eq!(numbers, expected, "its neighbours are handled");
    // Two among others, three in quarantine.
    assert_eq!(crashes, 5);
    // Moved back unchanged, once the method is fixed.
    let amqp = Amqp::connect(&url).await;
    let dead_letter = amqp.drain("notifications.info.dead").await.pop().unwrap().delivery;
    amqp.publish("", QUEUE, dead_letter.data, dead_letter.properties).await;
    let fixed = Fixed::default();
    let builder = Listener::builder().transport(Transport::open(&url).unwrap());
    let listener = builder.endpoint(fixed.clone()).build().unwrap();
    listener.start().await.unwrap();
    wait_until("it is handled", SOON, async || depth(node, vhost).await == Some(0)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    assert_eq!(*fixed.0.lock().unwrap(), [7]);
    assert_eq!(node.queue_depth(vhost, "notifications.info.dead").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn poison_in_a_quorum_queue_is_given_up() {
    poison("poison-quorum", "rabbit_quorum_queue=true").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn poison_in_a_classic_queue_is_given_up() {
    poison("poison-classic", "amqp_durable_queues=true").await;
}

/// Never returns.
struct Hangs(mpsc::UnboundedSender<()>);

#[notification_endpoint(register = false, name = "hangs")]
impl Hangs {
    async fn info(&self) {
        let _ = self.0.send(());
        std::future::pending::<()>().await;
    }
}

/// The user has the permissions that the guide lists for dead letters and retries, and none for a
/// journal.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn orderly_stops_near_the_delivery_limit_lose_nothing_without_a_journal() {
    let (node, vhost) = (support::shared().await, "stops-without-journal");
    let url = node.vhost(vhost).await;
    let user = serde_json::json!({"password": "p", "tags": ""});
    node.api("PUT", "/api/users/stops", Some(user)).await;
    let may = serde_json::json!({
        "configure": "^(notifications.info($|.dead$|.retry.*)|openstack$)",
        "write": "^(notifications.info|amq.default|openstack)$",
        "read": "^(notifications.info($|.retry.*)|openstack$)",
    });
    node.api("PUT", &format!("/api/permissions/{vhost}/stops"), Some(may)).await;
    let quorum = format!("{url}?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=6");
    let notifier = Notifier::builder(Transport::open(&quorum).unwrap()).build().unwrap();
    notifier.info(&Context::new(), "x", &1).await.unwrap();
    notifier.close().await;
    let restricted = url.replace("guest:guest", "stops:p");
    for _ in 0..10 {
        let (begins, mut begun) = mpsc::unbounded_channel();
        let transport = Transport::open(&restricted).unwrap();
        let builder = Listener::builder().transport(transport.clone()).endpoint(Hangs(begins));
        let listener = builder.shutdown_timeout(Duration::ZERO).build().unwrap();
        listener.start().await.unwrap();
        timeout(SOON, begun.recv()).await.expect("no call began").unwrap();
        listener.stop().await;
        listener.wait().await.unwrap();
        transport.close().await;
    }
    let is_back = async || node.queue_depth(vhost, QUEUE).await == Some(1);
    wait_until("the notification in its queue", SOON, is_back).await;
}

/// Each attempt to attach would count as a delivery of every message that the first consumer received.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_cannot_be_consumed_costs_other_queues_no_deliveries() {
    use lapin::options::BasicCancelOptions;
    use lapin::types::AMQPValue;

    const OTHER: &str = "notifications.error";
    let node = support::shared().await;
    let url = node.vhost("counted").await;
    let amqp = Amqp::connect(&url).await;
    let quorum = [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-delivery-limit", AMQPValue::LongInt(5)),
    ];
    amqp.declare_queue(QUEUE, true, &quorum).await;
    amqp.declare_queue(OTHER, true, &[]).await;
    for n in 0..10 {
        amqp.publish("", QUEUE, n.to_string(), lapin::BasicProperties::default()).await;
    }
    let consumer = amqp.consume_exclusively(OTHER).await;

    let mut both = subscription(QUEUE);
    both.bindings.extend(subscription(OTHER).bindings);
    // Enough attempts to reach the limit: about one every half second.
    let url = support::oslo_url(&url) + "?rabbit_interval_max=1&rabbit_retry_backoff=0";
    let rabbit = rabbit(&url);
    let attempted = rabbit.subscribe(both.clone().timeout(Duration::from_secs(15)));
    let error = attempted.await.expect_err("the other consumer has the queue");
    assert!(error.to_string().contains("exclusive"), "{error}");
    amqp.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();

    let mut subscribed = rabbit.subscribe(both).await.unwrap();
    for _ in 0..10 {
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
}
