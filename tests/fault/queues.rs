//! Somebody changes queues and exchanges while they are in use. Rows 6 to 9, 12, 17 and 42
//! of the list.

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
        // Nothing is in it: what a queue holds goes with it.
        amqp.delete_queue(QUEUE).await;
        amqp.close().await;
        worker.until("the loss is told", async |worker| worker.losses() > losses).await;
        trial.attached_after(worker.ready(true).await);
    }
    assert!(worker.log().contains("cancelled the consumer"), "{}", worker.log());
    trial.send(plain(300..400)).await;
    trial.until_all_handled(&mut worker).await;
    trial.finish(worker, node, 0).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_made_anew_with_other_arguments_is_told_of_and_waited_for() {
    let node = shared().await;
    let mut trial = Trial::new(7, "queue made anew with other arguments", node).await;
    trial.options.url = format!("{}&amqp_durable_queues=true", trial.options.url);
    let mut worker = trial.worker().await;
    let amqp = Amqp::connect(&trial.url).await;
    let long = AMQPValue::LongInt(1_000_000);
    amqp.delete_queue(QUEUE).await;
    amqp.declare_queue(QUEUE, false, &[("x-max-length", long)]).await;
    // Who came first decides what happens next: it is refused only when it was not first.
    worker.logs("durable was asked to be true, and is false").await;
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
async fn a_deleted_exchange_and_a_lost_binding_are_made_again() {
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
    assert_eq!(account.confirmed.len(), 1500, "every send found its way again");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_purge_takes_what_waits_and_harms_nothing_else() {
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
    assert_eq!(taken.len(), purged as usize, "no more are gone than were purged");
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
async fn a_policy_that_drops_messages_sends_them_where_they_are_counted() {
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
async fn dead_letters_that_find_no_place_keep_their_source_and_nothing_spins() {
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
    // They are the worker's: unacknowledged, not lost.
    let held = async || {
        let depth = async |queue| node.queue_depth(&trial.vhost, queue).await.unwrap_or(0);
        // A session that is lost on a busy machine may have some of them quarantined.
        Some(depth(QUEUE).await + depth("notifications.info.quarantine").await)
    };
    assert_eq!(held().await, Some(20), "{}", worker.log());
    // Somebody fixes it in the roughest way: it is declared again. The worker stands still, for
    // what is on its way into a queue when that is deleted counts as confirmed, and goes with it.
    worker.signal("-STOP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    amqp.delete_queue("notifications.info.dead").await;
    worker.signal("-CONT");
    let fixed = std::time::Instant::now();
    wait_until("all have found a place", SOON * 2, async || held().await == Some(0)).await;
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
async fn peers_that_declare_otherwise_and_restart_do_not_disturb_a_listener() {
    let node = shared().await;
    let trial = Trial::new(42, "oslo.messaging restarts with other options", node).await;
    let mut id = 0;
    let mut worker = None;
    let mut sent = Vec::new();
    // oslo's default comes first, and everything is declared as it has it: not durable.
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
            // A notifier whose options differ from what is there gives up, and says so.
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
    assert_eq!(sent, [10, 0, 10], "what is there is not changed for anybody");
    let mut worker = worker.unwrap();
    trial.until_all_handled(&mut worker).await;
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    trial.finish(worker, node, 0).await;
}
