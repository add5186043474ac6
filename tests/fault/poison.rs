//! A message that ends the process that works on it, again and again, with others in hand. Rows
//! 15 and 16 of the list.

use std::collections::BTreeSet;

use lapin::types::AMQPValue;
use support::account::Counts;
use support::amqp::oslo_properties;
use support::{Act, Amqp, Job, shared};

use crate::process::Worker;
use crate::trial::{PREFETCH, QUEUE, Trial, plain};

/// One of fifty takes the process with it. What starts the process again is this test.
async fn poisoned(row: u8, fault: &'static str, query: &str) {
    const DEATHS: u32 = 25;
    let node = shared().await;
    let mut trial = Trial::new(row, fault, node).await;
    trial.options.url += query;
    // All are in work when it dies.
    trial.options.pause_ms = 100;
    let mut deaths = 0;
    // Declares the queues as the options say.
    let mut worker = trial.worker().await;
    trial.send([Job { id: 0, act: Act::Abort }]).await;
    trial.send(plain(1..50)).await;
    while trial.handled().len() < 49 || trial.waiting(node).await > 0 {
        if worker.has_ended() {
            trial.worked(&worker);
            deaths += 1;
            assert!(deaths <= DEATHS, "it is never recognised:\n{}", worker.log());
            worker = Worker::start(&trial.options);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    worker.ready(true).await;
    eprintln!("row {row}, {fault}: the process died {deaths} times");
    let account = trial.finish(worker, node, deaths * PREFETCH).await;
    assert_eq!(account.dead.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([0]));
    // Quarantined after two, given up after three more.
    assert_eq!(deaths, 5);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_among_fifty_is_recognised_and_the_others_are_handled() {
    poisoned(15, "poison among 50, classic queue", "").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_among_fifty_is_recognised_in_a_quorum_queue_too() {
    poisoned(15, "poison among 50, quorum queue", "&rabbit_quorum_queue=true").await;
}

/// The worker finds it in the middle of twenty when it starts, in queues that somebody else has
/// declared, of which its URL says nothing.
async fn poisoned_at_the_start(
    fault: &'static str,
    act: Act,
    queue: &str,
    quarantine: Option<&str>,
) {
    let node = shared().await;
    let mut trial = Trial::new(15, fault, node).await;
    trial.options.pause_ms = 100;
    let amqp = Amqp::connect(&trial.url).await;
    let side = format!("{QUEUE}.quarantine");
    for (name, kind) in [(QUEUE, Some(queue)), (side.as_str(), quarantine)] {
        if let Some(kind) = kind {
            let kind = ("x-queue-type", AMQPValue::LongString(kind.into()));
            amqp.declare_queue(name, true, &[kind]).await;
        }
    }
    let job = serde_json::to_value(Job { id: 0, act }).unwrap();
    let body = serde_json::json!({
        "message_id": "0", "priority": "INFO", "event_type": "x", "payload": job,
    });
    // As a shovel leaves it behind.
    let count = ("x-delivery-count", AMQPValue::LongLongInt(2));
    trial.send(plain(1..10)).await;
    amqp.publish("", QUEUE, body.to_string(), oslo_properties(&[count])).await;
    trial.sent_elsewhere([0]);
    trial.send(plain(10..20)).await;
    let (mut deaths, mut worker) = (0, Worker::start(&trial.options));
    while trial.handled().len() < 19 || trial.waiting(node).await > 0 {
        if worker.has_ended() {
            trial.worked(&worker);
            deaths += 1;
            assert!(deaths <= 25, "it is never recognised:\n{}", worker.log());
            worker = Worker::start(&trial.options);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    worker.ready(true).await;
    // Those that are in work beside it at its first two deaths.
    let account = trial.finish(worker, node, 2 * 19).await;
    assert_eq!(account.dead, Counts::from([(0, 1)]), "one dead letter");
    assert_eq!(deaths, 5, "two among others, three in quarantine");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_that_ends_the_process_at_once_is_one_dead_letter() {
    poisoned_at_the_start("poison at once, classic queue", Act::AbortAtOnce, "classic", None).await;
    poisoned_at_the_start("poison at once, quorum queue", Act::AbortAtOnce, "quorum", None).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_that_ends_the_process_while_others_are_in_work_is_one_dead_letter() {
    poisoned_at_the_start("poison at the start, classic queue", Act::Abort, "classic", None).await;
    poisoned_at_the_start("poison at the start, quorum queue", Act::Abort, "quorum", None).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_is_recognised_where_its_queue_and_the_quarantine_are_of_different_types() {
    let (at_once, other) = (Act::AbortAtOnce, Some("classic"));
    poisoned_at_the_start("poison, quorum queue, classic quarantine", at_once, "quorum", other)
        .await;
    let other = Some("quorum");
    poisoned_at_the_start("poison, classic queue, quorum quarantine", at_once, "classic", other)
        .await;
}

/// At its limit the broker drops a message for good, as there is no dead letter exchange.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_is_quarantined_before_the_broker_s_own_limit_drops_it() {
    let query = "&rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=5";
    poisoned(16, "poison, delivery limit 5 without a dead letter exchange", query).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_delivery_limit_that_would_drop_messages_is_refused() {
    let node = shared().await;
    let mut trial = Trial::new(16, "delivery limit 3 refused", node).await;
    trial.options.url += "&rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=3";
    let (status, log) = Worker::start(&trial.options).ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("has a delivery limit of 3"), "{log}");
    // Whoever takes the loss upon himself is let in.
    trial.options.url += "&allow_low_delivery_limit=true";
    let mut worker = trial.worker().await;
    trial.send(plain(0..100)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}
