//! Faults of the process: stopped, suspended, killed, out of file descriptors, one of two. Rows 31, 32,
//! 34 and 35 of the list; a stop in the middle of work is in `stopped.rs`.

use std::time::Duration;

use lapin::types::AMQPValue;
use support::{Amqp, Proxy, RabbitNode, shared};

use crate::process::Worker;
use crate::program::SOON;
use crate::trial::{PREFETCH, QUEUE, Trial, all_sent, plain, send_unreadable};

/// Sends SIGTERM, and expects exit code 0 before the shutdown timeout.
async fn terminated(trial: &mut Trial, worker: Worker) {
    trial.worked(&worker);
    worker.signal("-TERM");
    let (status, log) = worker.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("unfinished at the deadline"), "{log}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn sigterm_while_idle_reconnecting_or_starting_exits_with_success() {
    let node = shared().await;
    let proxy = Proxy::start(node.port()).await;
    let trial = Trial::new(31, "SIGTERM idle, while reconnecting, while starting", node).await;
    let mut trial = trial.through(node, proxy.port());
    let idle = trial.worker().await;
    terminated(&mut trial, idle).await;

    let mut reconnecting = trial.worker().await;
    trial.send(plain(0..10)).await;
    trial.until_all_settled(&mut reconnecting, node).await;
    proxy.refuse(true);
    proxy.cut();
    reconnecting.ready(false).await;
    terminated(&mut trial, reconnecting).await;

    let mut starting = Worker::start(&trial.options);
    starting.logs("cannot attach to RabbitMQ yet").await;
    terminated(&mut trial, starting).await;
    trial.settle(node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn sigterm_while_a_dead_letter_queue_is_full_releases_the_delivery() {
    let node = shared().await;
    let mut trial = Trial::new(31, "SIGTERM while dead letters wait", node).await;
    let amqp = Amqp::connect(&trial.url).await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    amqp.declare_queue("notifications.info.dead", true, &full).await;
    amqp.close().await;
    let mut worker = trial.worker().await;
    send_unreadable(&trial, 0..10).await;
    worker.ready(false).await;
    terminated(&mut trial, worker).await;
    let account = trial.settle(node, 0).await;
    assert_eq!(account.queued.len(), 10, "{account}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_program_suspended_past_its_heartbeats_settles_nothing_with_old_tags() {
    let node = shared().await;
    let mut trial = Trial::new(32, "program suspended for three heartbeats", node).await;
    trial.options.pause_ms = 20;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..1000));
    trial.until_handled(&mut worker, 200).await;
    worker.signal("-STOP");
    // The broker gives up the connection after 2 x 2 s and requeues its deliveries.
    support::wait_until("the broker has closed the connection", SOON, async || {
        let consumers = node.ctl(&["list_consumers", "-p", &trial.vhost]).await;
        !consumers.contains(QUEUE)
    })
    .await;
    worker.signal("-CONT");
    worker.until("the loss is reported", async |worker| worker.losses() > 0).await;
    trial.attached_after(worker.ready(true).await);
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    assert!(!worker.log().contains("unknown delivery tag"), "{}", worker.log());
    trial.finish(worker, node, 2 * PREFETCH).await;
}

fn limit_descriptors(worker: &Worker, limit: &str) {
    let arguments = [format!("--pid={}", worker.pid()), format!("--nofile={limit}")];
    let status = std::process::Command::new("prlimit").args(&arguments).status();
    assert!(status.expect("`prlimit` starts").success(), "prlimit {arguments:?}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_program_without_file_descriptors_waits_until_some_are_free() {
    let node = shared().await;
    let mut trial = Trial::new(34, "no descriptor left", node).await;
    let mut worker = trial.worker().await;
    trial.send(plain(0..100)).await;
    trial.until_all_handled(&mut worker).await;
    limit_descriptors(&worker, "5:4096");
    node.ctl(&["close_all_connections", "--vhost", &trial.vhost, "a test"]).await;
    worker.ready(false).await;
    worker.logs("Too many open files").await;
    worker.is_calm(Duration::from_secs(3)).await;
    limit_descriptors(&worker, "1024:4096");
    trial.attached_after(worker.ready(true).await);
    trial.send(plain(100..200)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn the_deliveries_of_a_killed_program_go_to_another() {
    let node = shared().await;
    let mut trial = Trial::new(35, "one of two programs killed", node).await;
    trial.options.pause_ms = 10;
    let (first, mut second) = (trial.worker().await, trial.worker().await);
    let sending = trial.sending(plain(0..1000));
    trial.until_handled(&mut second, 300).await;
    trial.worked(&first);
    first.kill().await;
    all_sent(sending).await;
    trial.until_all_handled(&mut second).await;
    trial.until_empty(&mut second, node).await;
    trial.finish(second, node, 2 * PREFETCH).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_killed_single_active_consumer_is_succeeded_in_order() {
    let node = shared().await;
    let mut trial = Trial::new(35, "single active consumer killed, in order", node).await;
    declare_single_active(node, &trial).await;
    trial.window = 1;
    trial.options.sequential = true;
    trial.options.pause_ms = 5;
    let (first, mut second) = (trial.worker().await, trial.worker().await);
    trial.send(plain(0..400)).await;
    trial.until_handled(&mut second, 150).await;
    trial.worked(&first);
    let mut logs = first.log();
    first.kill().await;
    trial.until_all_handled(&mut second).await;
    let order = trial.order_of_handling();
    let sorted: Vec<u64> = (0..400).collect();
    trial.until_depth(node, QUEUE, 0).await;
    logs.push_str(&second.log());
    logs.push_str(&std::fs::read_to_string(&trial.options.log).unwrap()[..400]);
    terminated(&mut trial, second).await;
    // Such a queue cannot be drained with `basic.get`: its depth is queried, and it is deleted.
    assert_eq!(node.queue_depth(&trial.vhost, QUEUE).await, Some(0));
    let amqp = Amqp::connect(&trial.url).await;
    amqp.delete_queue(QUEUE).await;
    amqp.close().await;
    trial.settle(node, PREFETCH).await;
    assert_eq!(order, sorted, "handled for the first time in another order than sent:\n{logs}");
}

async fn declare_single_active(node: &RabbitNode, trial: &Trial) {
    let amqp = Amqp::connect(&trial.url).await;
    let quorum = AMQPValue::LongString("quorum".into());
    let arguments =
        [("x-single-active-consumer", AMQPValue::Boolean(true)), ("x-queue-type", quorum)];
    amqp.declare_queue(QUEUE, true, &arguments).await;
    amqp.close().await;
    assert_eq!(node.queue_depth(&trial.vhost, QUEUE).await, Some(0));
}
