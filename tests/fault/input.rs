//! Faults of the input: bodies, sizes, properties, duplicates. Rows 25 to 28 of the list;
//! `tests/hostile` and `tests/fuzz` test bodies in depth.

use std::collections::BTreeSet;

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::{Value, json};
use support::amqp::oslo_properties;
use support::{Amqp, shared};

use crate::trial::{QUEUE, Trial, plain};

/// The envelope as oslo.messaging writes it.
fn envelope(message: &Value) -> String {
    json!({"oslo.version": "2.0", "oslo.message": message.to_string()}).to_string()
}

fn message(id: u64, message_id: &str) -> Value {
    json!({
        "message_id": message_id, "publisher_id": "p", "event_type": "x", "priority": "INFO",
        "payload": {"id": id, "act": "Handle"}, "timestamp": "2026-01-01 00:00:00.000000",
        "_unique_id": message_id,
    })
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn malformed_bodies_are_dead_lettered_unchanged() {
    let node = shared().await;
    let trial = Trial::new(25, "malformed bodies", node).await;
    let mut worker = trial.worker().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies: Vec<Vec<u8>> = [
        b"no json".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"payload\\\"".to_vec(),
        br#"{"oslo.version": "2.0", "oslo.message": {}}"#.to_vec(),
        br#"{"oslo.version": "2.0", "oslo.message": "[]"}"#.to_vec(),
        br#"{"oslo.version": "9.0", "oslo.message": "{}"}"#.to_vec(),
        b"null".to_vec(),
        b"".to_vec(),
        deep.into_bytes(),
        // A payload that is not a job: another type, a number that is too large.
        envelope(&json!({"event_type": "x", "priority": "INFO", "payload": "text"})).into_bytes(),
        br#"{"event_type": "x", "priority": "INFO", "payload": {"id": 99999999999999999999999999, "act": "Handle"}}"#.to_vec(),
    ]
    .into_iter()
    .enumerate()
    // An id is appended to each, where it does not matter.
    .map(|(id, mut body)| {
        body.extend(format!(" {id}").bytes());
        body
    })
    .collect();
    let count = bodies.len() as u64;
    let amqp = Amqp::connect(&trial.url).await;
    for body in &bodies {
        amqp.publish("", QUEUE, body, oslo_properties(&[])).await;
    }
    trial.send(plain(count..count + 100)).await;
    trial.until_handled(&mut worker, 100).await;
    trial.until_depth(node, "notifications.info.dead", count).await;
    let dead = amqp.drain("notifications.info.dead").await;
    let found: BTreeSet<&Vec<u8>> = dead.iter().map(|message| &message.delivery.data).collect();
    assert_eq!(found, bodies.iter().collect(), "the bodies are unchanged");
    let reasons: BTreeSet<String> = dead.iter().map(|message| reason(&message.delivery)).collect();
    assert_eq!(reasons, BTreeSet::from(["undecodable".to_owned()]));
    // They are put back for the account.
    for body in &bodies {
        amqp.publish("", "notifications.info.dead", body, oslo_properties(&[])).await;
    }
    amqp.close().await;
    trial.sent_elsewhere(0..count);
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    trial.finish(worker, node, 0).await;
}

fn reason(delivery: &lapin::message::Delivery) -> String {
    let headers = delivery.properties.headers().as_ref().expect("a dead letter has headers");
    match headers.inner().get("listener-reason") {
        Some(AMQPValue::LongString(reason)) => reason.to_string(),
        other => panic!("the reason is {other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn huge_bodies_and_headers_stay_within_the_bytes_in_flight() {
    let node = shared().await;
    let trial = Trial::new(26, "bodies of 1 and 16 MiB, headers of 100 kB", node).await;
    let mut worker = trial.worker().await;
    let before = worker.measures();
    let amqp = Amqp::connect(&trial.url).await;
    const MIB: usize = 1024 * 1024;
    for (id, size) in (0..).zip([MIB, MIB, 4 * MIB, 16 * MIB - 1000, 16 * MIB + 1]) {
        let mut readable = message(id, &format!("m{id}"));
        readable["payload"]["filler"] = json!("x".repeat(size));
        amqp.publish("", QUEUE, envelope(&readable), oslo_properties(&[])).await;
        let unreadable = format!("{} {}", "x".repeat(size), id + 5);
        amqp.publish("", QUEUE, unreadable, oslo_properties(&[])).await;
    }
    let large = [("filler", AMQPValue::LongString("x".repeat(100_000).into()))];
    amqp.publish("", QUEUE, "unreadable 10", oslo_properties(&large)).await;
    amqp.close().await;
    trial.sent_elsewhere(0..11);
    trial.until_depth(node, "notifications.info.dead", 6).await;
    trial.until_empty(&mut worker, node).await;
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    let after = worker.measures();
    // By default at most 64 MiB are in flight; each body exists a few times while it is decoded and
    // sent.
    assert!(after.rss_kb < before.rss_kb + 400_000, "{before:?} before, {after:?} after");
    let account = trial.finish(worker, node, 0).await;
    assert_eq!(account.handled.len() + account.dead.len(), 11, "{account}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn odd_properties_do_not_keep_a_body_from_being_read() {
    let node = shared().await;
    let trial = Trial::new(27, "odd types, encodings, priorities; none at all", node).await;
    let mut worker = trial.worker().await;
    let amqp = Amqp::connect(&trial.url).await;
    let odd = [
        BasicProperties::default(),
        BasicProperties::default().with_content_type("text/plain".into()),
        BasicProperties::default().with_content_encoding("binary".into()),
        BasicProperties::default().with_priority(255),
        BasicProperties::default().with_expiration("60000".into()).with_timestamp(u64::MAX),
        BasicProperties::default().with_type("\u{1}".into()).with_reply_to("nobody".into()),
        // Their properties do not match the body; 1 is one that oslo.messaging accepts.
        BasicProperties::default().with_content_type("application/x-python-serialize".into()),
        oslo_properties(&[("compression", AMQPValue::LongString("application/x-gzip".into()))]),
        oslo_properties(&[("compression", AMQPValue::LongString("unheard-of".into()))]),
    ];
    let count = odd.len() as u64;
    for (id, properties) in (0..).zip(odd) {
        let body = envelope(&message(id, &format!("m{id}")));
        amqp.publish("", QUEUE, body, properties).await;
    }
    amqp.close().await;
    trial.sent_elsewhere(0..count);
    trial.until_empty(&mut worker, node).await;
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    let account = trial.finish(worker, node, 0).await;
    let dead: BTreeSet<u64> = account.dead.keys().copied().collect();
    assert_eq!(dead, BTreeSet::from([1, 6, 7, 8]), "{account}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn duplicates_have_one_effect_with_an_inbox() {
    let node = shared().await;
    let mut trial = Trial::new(28, "each sent four times: both versions, two queues", node).await;
    trial.options.inbox = true;
    let mut worker = trial.worker().await;
    let amqp = Amqp::connect(&trial.url).await;
    for id in 0..50 {
        let message = message(id, &format!("the same {id}"));
        for queue in [QUEUE, QUEUE, "notifications.error"] {
            amqp.publish("", queue, envelope(&message), oslo_properties(&[])).await;
        }
        amqp.publish("", QUEUE, message.to_string(), oslo_properties(&[])).await;
    }
    trial.sent_elsewhere(0..50);
    trial.until_all_handled(&mut worker).await;
    // Also after a new session.
    node.ctl(&["close_all_connections", "--vhost", &trial.vhost, "a test"]).await;
    worker.until("the loss is reported", async |worker| worker.losses() > 0).await;
    trial.attached_after(worker.ready(true).await);
    amqp_again(&trial).await;
    trial.until_empty(&mut worker, node).await;
    trial.finish(worker, node, 0).await;
}

async fn amqp_again(trial: &Trial) {
    let amqp = Amqp::connect(&trial.url).await;
    for id in 0..50 {
        let message = message(id, &format!("the same {id}"));
        amqp.publish("", QUEUE, envelope(&message), oslo_properties(&[])).await;
    }
    amqp.close().await;
}
