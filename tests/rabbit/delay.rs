//! Messages that are delayed in retry queues: when they arrive, what they survive, and the error without
//! such queues.

use super::*;
use lapin::types::AMQPValue;
use listener::driver::HeaderValue;
use listener::{Attempt, Context, Listener, Notifier, Outcome, Transport, notification_endpoint};
use std::time::Instant;
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_delayed_message_arrives_after_its_delay_and_before_twice_that() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("delayed").await);
    let mut subscribed = subscribe(&rabbit).await;
    // The first message of each level declares its queue and waits until that is stable; the others are
    // measured.
    for level in [1, 2, 4] {
        rabbit.send(delayed("first", level * SECOND)).await.unwrap();
        next(&mut subscribed).await.settle(Settle::Ack).unwrap();
    }
    // The second has the same level as the first, and is behind it in the queue.
    for delays in [[1.0, 1.0], [2.0, 1.2], [3.0, 3.5]] {
        let started = Instant::now();
        for delay in delays {
            let delay = Duration::from_secs_f64(delay);
            let sent = delayed(&delay.as_millis().to_string(), delay);
            rabbit.send(sent).await.unwrap();
        }
        for _ in delays {
            let delivery = next(&mut subscribed).await;
            let body = std::str::from_utf8(&delivery.body).unwrap();
            let delay = Duration::from_millis(body.parse().unwrap());
            let came = started.elapsed();
            eprintln!("{delay:?} came after {came:?}");
            assert!(delay <= came && came < 2 * delay + SECOND, "{delay:?} came after {came:?}");
            delivery.settle(Settle::Ack).unwrap();
        }
    }
    let queues = node.ctl(&["list_queues", "-p", "delayed", "name", "type", "arguments"]).await;
    let retry = queues.lines().find(|line| line.contains("retry.2s")).expect("a retry queue");
    for part in ["quorum", "at-least-once", "reject-publish"] {
        assert!(retry.contains(part), "{retry}");
    }
    assert!(!queues.contains("x-expires"), "{queues}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_delayed_message_survives_a_killed_broker() {
    let mut node = RabbitNode::start().await;
    let rabbit = rabbit(&node.url());
    let started = Instant::now();
    let delay = 5 * SECOND;
    let sends = (0..50).map(|n| {
        let rabbit = &rabbit;
        async move { rabbit.send(delayed(&n.to_string(), delay)).await.unwrap() }
    });
    futures_util::future::join_all(sends).await;
    node.kill().await;
    let waited = started.elapsed();
    assert!(waited < delay, "killed too late to show anything: {waited:?}");
    node.restart().await;
    let mut subscribed = subscribe(&rabbit).await;
    let mut found = std::collections::BTreeSet::new();
    while found.len() < 50 {
        let delivery = next(&mut subscribed).await;
        found.insert(delivery.body.clone());
        delivery.settle(Settle::Ack).unwrap();
    }
    assert!(started.elapsed() >= delay);
}

/// RabbitMQ itself may lose a new queue of any type.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_confirmed_message_in_a_new_queue_survives_a_broker_killed_immediately() {
    let mut node = RabbitNode::start().await;
    let rabbit = rabbit(&node.url());
    for n in 0..5 {
        let queue = format!("notifications.info-{n}.dead");
        let outgoing = delayed("one", SECOND).route(Route::Queue(queue.clone()));
        rabbit.send(outgoing).await.unwrap();
        node.kill().await;
        node.restart().await;
        assert_eq!(node.queue_depth("/", &queue).await, Some(1), "{queue}");
    }
    rabbit.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn without_configure_permission_a_delay_is_refused() {
    let node = support::shared().await;
    let url = mistakes::user(node, "no_delay", "^$", ".*", ".*").await;
    let amqp = Amqp::connect(&node.vhost("no_delay").await).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue(QUEUE, true, &[]).await;
    let rabbit = rabbit(&url);
    for _ in 0..2 {
        match rabbit.send(delayed("one", SECOND)).await {
            Err(SendError::NoDelay { route, reason }) => {
                assert_eq!(route, format!("queue {QUEUE:?} after 1s"));
                let expected = format!("declare queue \"{QUEUE}.retry.1s\"");
                assert!(reason.contains(&expected), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A retry queue that somebody else declared is used.
    let arguments = [
        ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
        ("x-dead-letter-routing-key", AMQPValue::LongString(QUEUE.into())),
    ];
    amqp.declare_queue(&format!("{QUEUE}.retry.2s"), true, &arguments).await;
    rabbit.send(delayed("two", 2 * SECOND)).await.unwrap();
    let mut subscribed = subscribe(&rabbit).await;
    assert_eq!(next(&mut subscribed).await.body, "two");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_delay_of_more_than_a_day_is_refused() {
    let node = support::shared().await;
    let rabbit = rabbit(&node.vhost("too_long").await);
    match rabbit.send(delayed("one", Duration::from_secs(86_401))).await {
        Err(SendError::NoDelay { reason, .. }) => {
            assert_eq!(reason, "a delay may be at most 24 hours");
        }
        other => panic!("{other:?}"),
    }
}

struct RetriesTomorrow;

#[notification_endpoint(register = false, name = "tomorrow", event_type = "tomorrow")]
impl RetriesTomorrow {
    async fn info(&self) -> Outcome {
        Outcome::retry_after(Duration::from_secs(25 * 3600))
    }
}

struct HandlesNow(mpsc::UnboundedSender<u32>);

#[notification_endpoint(register = false, name = "now", event_type = "now")]
impl HandlesNow {
    async fn info(&self, attempt: Attempt) {
        let _ = self.0.send(attempt.0);
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_retry_after_more_than_a_day_is_delayed_in_several_rounds() {
    let node = support::shared().await;
    let url = node.vhost("goes_round").await;
    let transport = Transport::open(&url).unwrap();
    let (called, mut calls) = mpsc::unbounded_channel();
    let builder = Listener::builder().transport(transport.clone());
    let listener = builder.endpoint(RetriesTomorrow).endpoint(HandlesNow(called)).build().unwrap();
    listener.start().await.unwrap();
    let notifier = Notifier::builder(transport.clone()).build().unwrap();
    notifier.info(&Context::new(), "tomorrow", &()).await.unwrap();
    let amqp = Amqp::connect(&url).await;
    let retry = format!("{QUEUE}.retry.131072s");
    wait_until("the first round", SOON, async || {
        node.queue_depth("goes_round", &retry).await == Some(1)
    })
    .await;
    let held = amqp.drain(&retry).await;
    let properties = &held[0].delivery.properties;
    let headers = properties.headers().clone().unwrap();
    assert_eq!(headers.inner().get("listener-remaining"), Some(&AMQPValue::LongLongInt(3600)));
    assert_eq!(properties.expiration().clone(), Some("86400000".into()));
    // The last round, as if the others had passed.
    let mut last =
        to(Route::Queue(QUEUE.to_owned()), r#"{"priority": "INFO", "event_type": "now"}"#);
    last.properties.headers.insert("listener-remaining", HeaderValue::Int64(3));
    last.properties.headers.insert("listener-attempts", HeaderValue::Int64(1));
    let began = Instant::now();
    transport.send(last).await.unwrap();
    assert_eq!(timeout(SOON, calls.recv()).await.unwrap(), Some(2));
    assert!(began.elapsed() >= 3 * SECOND, "{:?}", began.elapsed());
    wait_until("the settlement", SOON, async || depth(node, "goes_round").await == Some(0)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    assert_eq!(node.queue_depth("goes_round", &format!("{QUEUE}.dead")).await, None);
}

/// The broker drops a message that returns to a queue without a rejection in between.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_message_is_delayed_five_times_with_its_original_headers() {
    let node = support::shared().await;
    let url = node.vhost("rounds").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    // The source queue expires messages itself, so it appears in `x-death`, too.
    let arguments = [
        ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
        ("x-dead-letter-routing-key", AMQPValue::LongString(QUEUE.into())),
    ];
    amqp.declare_queue("outer", true, &arguments).await;
    let expiring = lapin::BasicProperties::default().with_expiration("1".into());
    let mut subscribed = subscribe(&rabbit).await;
    amqp.publish("", "outer", "round", expiring).await;
    for round in 0..5 {
        let delivery = next(&mut subscribed).await;
        let mut properties = delivery.properties.clone();
        assert!(matches!(properties.headers.get("x-death"), Some(HeaderValue::Array(_))));
        properties.headers.insert("listener-attempts", HeaderValue::Int64(round));
        let copy = delayed("round", SECOND).properties(properties);
        rabbit.send(copy).await.unwrap();
        delivery.settle(Settle::Ack).unwrap();
    }
    let last = next(&mut subscribed).await;
    assert_eq!(last.properties.headers.get("listener-attempts"), Some(&HeaderValue::Int64(4)));
    let Some(HeaderValue::Array(crashes)) = last.properties.headers.get("x-death") else {
        panic!("no x-death: {:?}", last.properties.headers);
    };
    let queue = |crash: &HeaderValue| match crash {
        HeaderValue::Table(crash) => crash.get_str("queue").map(str::to_owned),
        other => panic!("{other:?} is not a table"),
    };
    let queues: Vec<_> = crashes.iter().map(queue).collect();
    assert_eq!(queues, [Some(format!("{QUEUE}.retry.1s"))]);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_retry_queue_that_is_deleted_is_declared_again() {
    let node = support::shared().await;
    let url = node.vhost("retry_deleted").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    rabbit.send(delayed("one", 60 * SECOND)).await.unwrap();
    let retry = format!("{QUEUE}.retry.64s");
    amqp.delete_queue(&retry).await;
    rabbit.send(delayed("two", 60 * SECOND)).await.unwrap();
    let held = node.queue_depth("retry_deleted", &retry);
    assert_eq!(held.await, Some(1));
}

/// RabbitMQ retries to dead-letter a message: each second here, every three minutes by default.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_delayed_message_survives_the_deletion_of_its_queue() {
    let node = support::shared().await;
    let url = node.vhost("source_deleted").await;
    let (rabbit, amqp) = (rabbit(&url), Amqp::connect(&url).await);
    rabbit.send(delayed("one", SECOND)).await.unwrap();
    amqp.delete_queue(QUEUE).await;
    tokio::time::sleep(2 * SECOND).await;
    let mut subscribed = subscribe(&rabbit).await;
    assert_eq!(next(&mut subscribed).await.body, "one");
}
