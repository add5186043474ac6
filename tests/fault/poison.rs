//! A message that ends every process that works on it, with others in flight. Rows 15 and 16 of the
//! list.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::types::AMQPValue;
use support::account::Counts;
use support::amqp::oslo_properties;
use support::{Act, Amqp, Job, shared};

use crate::process::Worker;
use crate::trial::{PREFETCH, QUEUE, Trial, plain};

/// One of fifty ends the process; the test restarts it.
async fn poisoned(row: u8, fault: &'static str, query: &str) {
    const CRASHES: u32 = 25;
    let node = shared().await;
    let mut trial = Trial::new(row, fault, node).await;
    trial.options.url += query;
    // All are in work when the process crashes.
    trial.options.pause_ms = 100;
    let mut crashes = 0;
    // This declares the queues with the options.
    let mut worker = trial.worker().await;
    trial.send([Job { id: 0, act: Act::Abort }]).await;
    trial.send(plain(1..50)).await;
    while trial.handled().len() < 49 || trial.waiting(node).await > 0 {
        if worker.has_ended() {
            trial.worked(&worker);
            crashes += 1;
            assert!(crashes <= CRASHES, "it is never given up:\n{}", worker.log());
            worker = Worker::start(&trial.options);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.ready(true).await;
    eprintln!("row {row}, {fault}: the process crashed {crashes} times");
    let account = trial.finish(worker, node, crashes * PREFETCH).await;
    assert_eq!(account.dead.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([0]));
    // Quarantined after two, given up after three more.
    assert_eq!(crashes, 5);
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_among_fifty_is_given_up_and_the_others_are_handled() {
    poisoned(15, "poison among 50, classic queue", "").await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_among_fifty_in_a_quorum_queue_is_given_up() {
    poisoned(15, "poison among 50, quorum queue", "&rabbit_quorum_queue=true").await;
}

/// The worker finds it in the middle of twenty when it starts, in queues that another program has
/// declared with options that its URL does not have.
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
    // A header that a shovel keeps.
    let count = ("x-delivery-count", AMQPValue::LongLongInt(2));
    trial.send(plain(1..10)).await;
    amqp.publish("", QUEUE, body.to_string(), oslo_properties(&[count])).await;
    trial.sent_elsewhere([0]);
    trial.send(plain(10..20)).await;
    let (mut crashes, mut worker) = (0, Worker::start(&trial.options));
    while trial.handled().len() < 19 || trial.waiting(node).await > 0 {
        if worker.has_ended() {
            trial.worked(&worker);
            crashes += 1;
            assert!(crashes <= 25, "it is never given up:\n{}", worker.log());
            worker = Worker::start(&trial.options);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.ready(true).await;
    // The other deliveries in work at the first two crashes.
    let account = trial.finish(worker, node, 2 * 19).await;
    assert_eq!(account.dead, Counts::from([(0, 1)]), "one dead letter");
    assert_eq!(crashes, 5, "two among others, three in quarantine");
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
async fn poison_is_given_up_when_its_queue_and_the_quarantine_queue_differ_in_type() {
    let (at_once, other) = (Act::AbortAtOnce, Some("classic"));
    poisoned_at_the_start("poison, quorum queue, classic quarantine", at_once, "quorum", other)
        .await;
    let other = Some("quorum");
    poisoned_at_the_start("poison, classic queue, quorum quarantine", at_once, "classic", other)
        .await;
}

/// The healthy suspect is in work whenever another poison message ends the process, and in quarantine
/// itself.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn crashes_by_fresh_poison_do_not_count_against_a_healthy_suspect() {
    const POISON: u64 = 4;
    let node = shared().await;
    let mut trial = Trial::new(15, "fresh poison next to a healthy suspect", node).await;
    let (mut crashes, mut sent, mut calls) = (0, 0, 0);
    let mut worker = trial.worker().await;
    trial.send([Job { id: 0, act: Act::Sleep(6000) }]).await;
    while trial.handled().is_empty() || sent < POISON || trial.waiting(node).await > 0 {
        if worker.has_ended() {
            trial.worked(&worker);
            crashes += 1;
            assert!(crashes <= 5 * POISON, "it is never given up:\n{}", worker.log());
            worker = Worker::start(&trial.options);
        }
        // Calls of poison are not recorded.
        if trial.calls() > calls && sent < POISON && trial.handled().is_empty() {
            calls = trial.calls();
            sent += 1;
            trial.send([Job { id: sent, act: Act::AbortAtOnce }]).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.ready(true).await;
    let account = trial.finish(worker, node, PREFETCH).await;
    assert_eq!(account.dead, (1..=POISON).map(|id| (id, 1)).collect::<Counts>(), "{account}");
}

/// At its limit the broker drops a message, because there is no dead-letter exchange.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn poison_is_quarantined_before_the_broker_s_own_limit_drops_it() {
    let query = "&rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=5";
    poisoned(16, "poison, delivery limit 5 without a dead letter exchange", query).await;
}

/// How a process ends in the middle of a long call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// SIGTERM, and SIGKILL before the call is over.
    CutShort,
    /// SIGTERM twice.
    TwoSignals,
    /// SIGKILL without a SIGTERM.
    Crash,
}

/// Starts a worker on one long call, and ends it once the call has begun.
async fn end_in_the_middle(trial: &mut Trial, how: End) {
    let calls = trial.calls();
    let mut worker = Worker::start(&trial.options);
    worker.until("the call has begun", async |_| trial.calls() > calls).await;
    trial.worked(&worker);
    if how == End::Crash {
        return worker.kill().await;
    }
    worker.signal("-TERM");
    // Both signals would count as one if the second came before the first was handled.
    worker.logs("stopping").await;
    if how == End::CutShort {
        tokio::time::sleep(Duration::from_secs(2)).await;
        return worker.kill().await;
    }
    worker.signal("-TERM");
    let (status, log) = worker.ended().await;
    assert_eq!(status.code(), Some(130), "{log}");
}

async fn cut_short(fault: &'static str, query: &str, how: End) {
    let node = shared().await;
    let mut trial = Trial::new(15, fault, node).await;
    trial.options.url += query;
    trial.worker().await.kill().await;
    trial.send([Job { id: 0, act: Act::SleepOnce(600_000) }]).await;
    for _ in 0..6 {
        end_in_the_middle(&mut trial, how).await;
        let depths = node.queue_depths(&trial.vhost).await;
        let is_quarantined = |(name, depth): (&String, &Option<u64>)| {
            name.contains(".quarantine") && !name.ends_with(".journal") && *depth != Some(0)
        };
        assert!(!depths.iter().any(is_quarantined), "{how:?}: {depths:?}");
        let is_dead = |name: &String| name.ends_with(".dead");
        assert!(!depths.keys().any(is_dead), "{how:?}: {depths:?}");
    }
    // Crashes still count; the first one is not evidence.
    for _ in 0..2 {
        end_in_the_middle(&mut trial, End::Crash).await;
    }
    let mut worker = trial.worker().await;
    let quarantine = format!("{QUEUE}.quarantine");
    trial.until_depth(node, &quarantine, 1).await;
    worker.runs();
    trial.worked(&worker);
    worker.kill().await;
    let account = trial.settle(node, 1).await;
    assert_eq!(account.dead, Counts::new());
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_interrupted_stop_does_not_make_poison() {
    cut_short("stop cut short, classic queue", "", End::CutShort).await;
    cut_short("stop cut short, quorum queue", "&rabbit_quorum_queue=true", End::CutShort).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_process_ended_by_a_second_signal_does_not_make_poison() {
    cut_short("second signal in a long call", "", End::TwoSignals).await;
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
    // With the option that accepts the loss it starts.
    trial.options.url += "&allow_low_delivery_limit=true";
    let mut worker = trial.worker().await;
    trial.send(plain(0..100)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}
