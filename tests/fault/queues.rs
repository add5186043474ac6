//! Queues and exchanges are changed while they are in use. Rows 6 to 9, 12, 17 and 42 of the list.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use support::{Amqp, NotifierOptions, PythonNotifier, RabbitNode, shared, wait_until};

use crate::program::SOON;
use crate::trial::{QUEUE, Trial, all_sent, plain, send_unreadable};

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_deleted_under_its_consumer_is_declared_and_consumed_again() {
    let node = shared().await;
    let mut trial = Trial::new(6, "queue deleted while it is consumed", node).await;
    let mut worker = trial.worker().await;
    for round in 0..3 {
        trial.send(plain(round * 100..(round + 1) * 100)).await;
        trial.until_all_handled(&mut worker).await;
        let losses = worker.losses();
        let amqp = Amqp::connect(&trial.url).await;
        // It is empty: its messages would be deleted with it.
        amqp.delete_queue(QUEUE).await;
        amqp.close().await;
        worker.until("the loss is reported", async |worker| worker.losses() > losses).await;
        trial.attached_after(worker.ready(true).await);
    }
    assert!(worker.log().contains("cancelled the consumer"), "{}", worker.log());
    trial.send(plain(300..400)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_redeclared_with_other_arguments_is_reported_and_waited_for() {
    let node = shared().await;
    let mut trial = Trial::new(7, "queue redeclared with other arguments", node).await;
    trial.options.url = format!("{}&amqp_durable_queues=true", trial.options.url);
    let mut worker = trial.worker().await;
    let amqp = Amqp::connect(&trial.url).await;
    let long = AMQPValue::LongInt(1_000_000);
    amqp.delete_queue(QUEUE).await;
    amqp.declare_queue(QUEUE, false, &[("x-max-length", long)]).await;
    // Either side may declare it first: the listener is refused only if it was second.
    worker.logs("durable was requested to be true, and is false").await;
    worker.ready(false).await;
    worker.is_calm(Duration::from_secs(3)).await;
    amqp.delete_queue(QUEUE).await;
    amqp.close().await;
    trial.attached_after(worker.ready(true).await);
    trial.send(plain(0..100)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_deleted_exchange_and_a_lost_binding_are_restored() {
    let node = shared().await;
    let trial = Trial::new(8, "exchange deleted, binding taken away", node).await;
    let mut worker = trial.worker().await;
    let sending = trial.sending(plain(0..1500));
    let amqp = Amqp::connect(&trial.url).await;
    trial.until_handled(&mut worker, 300).await;
    let deleted =
        amqp.channel().exchange_delete("openstack".into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    trial.until_handled(&mut worker, 800).await;
    let arguments = FieldTable::default();
    let unbound =
        amqp.channel().queue_unbind(QUEUE.into(), "openstack".into(), QUEUE.into(), arguments);
    unbound.await.unwrap();
    amqp.close().await;
    all_sent(sending).await;
    trial.until_all_handled(&mut worker).await;
    let account = trial.finish(worker, node, 50).await;
    assert_eq!(account.confirmed.len(), 1500, "every send succeeds");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_purge_removes_only_waiting_messages() {
    let node = shared().await;
    let mut trial = Trial::new(9, "queue purged", node).await;
    trial.options.prefetch = 10;
    trial.options.pause_ms = 100;
    trial.options.sequential = true;
    let mut worker = trial.worker().await;
    trial.send(plain(0..300)).await;
    trial.until_handled(&mut worker, 5).await;
    let amqp = Amqp::connect(&trial.url).await;
    let purged =
        amqp.channel().queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await.unwrap();
    amqp.close().await;
    let left = 300 - purged as usize;
    assert!(purged > 100, "{purged} were purged");
    trial.until_handled(&mut worker, left).await;
    let taken: BTreeSet<u64> = (0..300).filter(|id| !trial.handled().contains(id)).collect();
    assert_eq!(taken.len(), purged as usize, "exactly the purged ones are gone");
    trial.forget(&taken);
    trial.send(plain(300..310)).await;
    trial.until_all_handled(&mut worker).await;
    assert_eq!(worker.losses(), 0);
    trial.finish(worker, node, 0).await;
}

/// Sets a policy on `notifications.info`, whose dead letters go to the queue `dropped`.
async fn policy(node: &RabbitNode, vhost: &str, url: &str, mut definition: serde_json::Value) {
    let amqp = Amqp::connect(url).await;
    amqp.declare_queue("dropped", true, &[]).await;
    amqp.close().await;
    definition["dead-letter-exchange"] = json!("");
    definition["dead-letter-routing-key"] = json!("dropped");
    let pattern = "^notifications\\.info$";
    node.ctl(&["set_policy", "-p", vhost, "a-test", pattern, &definition.to_string()]).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn messages_dropped_by_a_policy_are_accounted_for() {
    let node = shared().await;
    for (fault, definition) in [
        ("policy max-length with a dead letter exchange", json!({"max-length": 50})),
        ("policy message-ttl with a dead letter exchange", json!({"message-ttl": 300})),
    ] {
        let mut trial = Trial::new(12, fault, node).await;
        trial.options.prefetch = 10;
        trial.options.pause_ms = 50;
        trial.options.sequential = true;
        let mut worker = trial.worker().await;
        policy(node, &trial.vhost, &trial.url, definition).await;
        trial.send(plain(0..200)).await;
        worker
            .until("the rest is handled", async |_| {
                node.queue_depth(&trial.vhost, QUEUE).await == Some(0)
            })
            .await;
        assert_eq!(worker.losses(), 0, "{}", worker.log());
        let account = trial.finish(worker, node, 0).await;
        assert!(account.queued.len() > 50, "{account}");
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn deliveries_with_a_full_dead_letter_queue_are_kept_without_a_hot_loop() {
    let node = shared().await;
    let mut trial = Trial::new(17, "dead letter queue full, then deleted", node).await;
    let amqp = Amqp::connect(&trial.url).await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    amqp.declare_queue("notifications.info.dead", true, &full).await;
    let mut worker = trial.worker().await;
    send_unreadable(&trial, 0..20).await;
    trial.send(plain(20..200)).await;
    trial.until_handled(&mut worker, 180).await;
    worker.is_calm(Duration::from_secs(3)).await;
    // The worker holds them unacknowledged: they are not lost.
    let held = async || {
        let depth = async |queue| node.queue_depth(&trial.vhost, queue).await.unwrap_or(0);
        // If a session is lost on a busy machine, some of them may be quarantined.
        Some(depth(QUEUE).await + depth("notifications.info.quarantine").await)
    };
    assert_eq!(held().await, Some(20), "{}", worker.log());
    // The queue is deleted and declared again. The worker is suspended meanwhile, because a message in
    // transit to a deleted queue counts as confirmed and is lost.
    worker.signal("-STOP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    amqp.delete_queue("notifications.info.dead").await;
    worker.signal("-CONT");
    let fixed = std::time::Instant::now();
    wait_until("all are dead-lettered", SOON * 2, async || held().await == Some(0)).await;
    let took = fixed.elapsed();
    trial.attached_after(took);
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let dead = amqp
        .channel()
        .queue_declare("notifications.info.dead".into(), passive, FieldTable::default())
        .await
        .unwrap();
    assert_eq!(dead.message_count(), 20, "{}", worker.log());
    amqp.close().await;
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn peers_that_restart_with_other_options_do_not_disturb_a_listener() {
    let node = shared().await;
    let trial = Trial::new(42, "oslo.messaging restarts with other options", node).await;
    let mut id = 0;
    let mut worker = None;
    let mut sent = Vec::new();
    // The peer with the default options of oslo.messaging starts first, and declares everything as
    // transient.
    for durable in [false, true, false] {
        let options = NotifierOptions { durable, ..NotifierOptions::default() };
        let mut peer = PythonNotifier::start(&trial.url, "messagingv2", &options).await;
        let mut taken = 0;
        for _ in 0..10 {
            id += 1;
            let notification = json!({
                "ctxt": {}, "publisher_id": "p", "event_type": "x", "priority": "info",
                "payload": {"id": id, "act": "Handle"},
            });
            // A notifier whose options differ from the existing queues gives up with an error.
            if !peer.try_send(&notification).await {
                break;
            }
            trial.sent_elsewhere([id]);
            taken += 1;
        }
        sent.push(taken);
        if worker.is_none() {
            worker = Some(trial.worker().await);
        }
    }
    assert_eq!(sent, [10, 0, 10], "existing queues and exchanges are not changed");
    let mut worker = worker.unwrap();
    trial.until_all_handled(&mut worker).await;
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    trial.finish(worker, node, 0).await;
}
