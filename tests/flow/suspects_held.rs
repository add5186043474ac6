//! How long a suspect is held that waits for another one, for its retry, or for a broker that accepts
//! no copy of it: no longer than `hold`, unless it can be moved nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use listener::driver::{Properties, SendError};
use listener::options::{Executor, RetryOptions};
use listener::testing::{DeliveryLimit, Model, Process};
use listener::{Attempt, Context, MemoryInbox, Outcome, State, Transport, notification_endpoint};

use crate::evidence::{die_of_one, model_with_one};
use crate::rig::{Log, Rig, finish};
use crate::sending::sending;
use crate::suspects::{
    CountsCalls, JournalAway, MINUTE, SECOND, kill_two, model, put, quarantine, sorted,
};

/// Works on the first one for nine minutes; gives up the others.
struct First;

#[notification_endpoint(register = false, name = "first")]
impl First {
    async fn info(&self, payload: u32, log: State<Log>) -> Outcome {
        let _ = log.send(payload.to_string());
        if payload == 0 {
            tokio::time::sleep(9 * MINUTE).await;
            return Outcome::Handled;
        }
        Outcome::dead_letter("no")
    }
}

#[tokio::test(start_paused = true)]
async fn hold_counts_from_when_a_delivery_was_taken() {
    let (model, mut rig) = model();
    model.change(|conditions| conditions.dead_letters_full = true);
    for number in 0..2_u32 {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    let builder = rig.builder().executor(Executor::Concurrent(1));
    let listener = builder.endpoint(First).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(rig.seen_so_far(), ["0", "1"]);
    // `hold` is 15 minutes by default.
    tokio::time::sleep(6 * MINUTE).await;
    assert_eq!(rig.seen_so_far(), ["1"], "the copy that replaced it");
    model.change(|conditions| conditions.dead_letters_full = false);
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    assert_eq!(rig.dead_letter().await.reason, "given-up");
}

/// Takes 40 minutes for each call, and 25 for a warning.
struct Long;

#[notification_endpoint(register = false, name = "long")]
impl Long {
    async fn info(&self, log: State<Log>) {
        tokio::time::sleep(40 * MINUTE).await;
        let _ = log.send("info".to_owned());
    }

    async fn error(&self, log: State<Log>) {
        tokio::time::sleep(40 * MINUTE).await;
        let _ = log.send("error".to_owned());
    }

    async fn warn(&self, log: State<Log>) {
        tokio::time::sleep(25 * MINUTE).await;
        let _ = log.send("warn".to_owned());
    }
}

fn body(priority: &str) -> String {
    let id = format!("id-{priority}");
    format!(
        r#"{{"priority": "{priority}", "message_id": "{id}", "event_type": "x", "payload": 1}}"#
    )
}

async fn send(rig: &Rig, priority: &str) {
    rig.send_by(&format!("notifications.{priority}"), body(priority)).await;
}

/// Runs a process that takes all deliveries, and releases them at its stop.
async fn take_and_stop(model: &Model, rig: &Rig) {
    let transport = Transport::new(model.process(), "stops");
    let builder = rig.builder_on(transport).shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(Long).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(SECOND).await;
    finish(&listener).await;
}

/// A process whose journal cannot be reached.
fn away(model: &Model) -> Transport {
    Transport::new(JournalAway(model.process(), Arc::new(AtomicBool::new(true))), "away")
}

/// Runs for three hours. Returns the longest time, in minutes, that a delivery of these queues was in
/// flight while no method worked on one of its queue.
async fn longest_wait(listener: &listener::Listener, queues: &[String]) -> u64 {
    let mut longest = Duration::ZERO;
    for _ in 0..180 {
        tokio::time::sleep(MINUTE).await;
        let health = listener.health();
        for queue in health.queues.iter().filter(|health| queues.contains(&health.queue)) {
            if queue.started == 0 {
                longest = longest.max(queue.oldest_age.unwrap_or_default());
            }
        }
    }
    longest.as_secs().div_ceil(60)
}

/// A broker closes the channel of a consumer that holds a delivery for too long, and redelivers all that
/// are in flight. A suspect that waits needs no slot to be replaced in time.
#[tokio::test(start_paused = true)]
async fn a_suspect_waiting_for_another_is_held_no_longer_than_hold() {
    let (_model, mut rig) = model();
    let queues = [quarantine("info"), quarantine("error")];
    for priority in ["info", "error"] {
        put(&rig, priority).await;
    }
    let builder = rig.builder().handler_timeout(60 * MINUTE).endpoint(Long);
    let listener = builder.executor(Executor::Concurrent(2)).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    send(&rig, "warn").await;
    let longest = longest_wait(&listener, &queues).await;
    assert!((14..=16).contains(&longest), "{longest} min");
    assert_eq!(sorted(rig.seen_so_far()), ["error", "info", "warn"]);
    finish(&listener).await;
    for queue in queues {
        rig.assert_empty(&queue).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_a_redelivered_message_is_held_no_longer_than_hold() {
    let (model, mut rig) = model();
    for priority in ["info", "error"] {
        send(&rig, priority).await;
    }
    take_and_stop(&model, &rig).await;
    // With an inbox, messages with one id wait for each other; that is not a key order.
    let builder = rig.builder_on(away(&model)).inbox(MemoryInbox::new(10));
    let builder = builder.handler_timeout(60 * MINUTE).endpoint(Long);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    let queues = ["notifications.info".to_owned(), "notifications.error".to_owned()];
    let longest = longest_wait(&listener, &queues).await;
    assert!((14..=16).contains(&longest), "{longest} min");
    assert_eq!(sorted(rig.seen_so_far()), ["error", "info"]);
    finish(&listener).await;
}

/// A queue drops a message that is requeued too often, and it cannot be replaced meanwhile.
#[tokio::test(start_paused = true)]
async fn a_suspect_near_the_delivery_limit_waits_for_another_without_a_deadline() {
    let (model, mut rig) = model();
    for priority in ["info", "error"] {
        send(&rig, priority).await;
        let limit = DeliveryLimit { deliveries: 5, dead_letters: None };
        model.limit(&format!("notifications.{priority}"), limit);
    }
    take_and_stop(&model, &rig).await;
    let retry = RetryOptions::default().hold(MINUTE);
    let builder = rig.builder_on(away(&model)).retry(retry);
    let builder = builder.handler_timeout(60 * MINUTE).endpoint(Long);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    model.change(|conditions| conditions.full = true);
    tokio::time::sleep(100 * MINUTE).await;
    assert_eq!(sorted(rig.seen_so_far()), ["error", "info"], "{:?}", model.depths());
    finish(&listener).await;
}

/// Each attempt to move it has its timeout, and RabbitMQ requeues a delivery after half an hour.
#[tokio::test(start_paused = true)]
async fn a_suspect_that_cannot_be_moved_is_handled_before_the_consumer_timeout() {
    let (model, rig) = model();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    model.limit("notifications.info", DeliveryLimit { deliveries: 5, dead_letters: None });
    kill_two(&model, &rig, 1).await;
    model.change(|conditions| conditions.full = true);
    let called = CountsCalls::default();
    let listener = rig.builder().endpoint(called.clone()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(14 * MINUTE).await;
    assert_eq!(*called.0.lock().unwrap(), [0; 0], "it is held");
    tokio::time::sleep(8 * MINUTE).await;
    assert_eq!(*called.0.lock().unwrap(), [0]);
    finish(&listener).await;
    model.change(|conditions| conditions.full = false);
    rig.assert_empty("notifications.info").await;
}

/// Has an order key, and asks for one retry of the error.
struct Ordered;

#[notification_endpoint(register = false, name = "ordered", ordered_by = "payload.id")]
impl Ordered {
    async fn error(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        let _ = log.send(format!("error {}", attempt.0));
        if attempt.0 == 1 { Outcome::retry_after(MINUTE) } else { Outcome::Handled }
    }
}

/// A suspect lost its position in the key order when it was quarantined.
#[tokio::test(start_paused = true)]
async fn an_ordered_suspect_waiting_for_its_retry_is_held_no_longer_than_hold() {
    let (_model, mut rig) = model();
    let queue = quarantine("error");
    let body = br#"{"priority": "error", "event_type": "x", "payload": {"id": 1}}"#;
    rig.put_with(&queue, Bytes::from_static(body), Properties::default()).await;
    put(&rig, "info").await;
    let builder = rig.builder().handler_timeout(60 * MINUTE).endpoint(Ordered).endpoint(LongInfo);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..60 {
        tokio::time::sleep(MINUTE).await;
        let health = listener.health();
        let queue = health.queues.iter().find(|health| health.queue == queue).unwrap();
        longest = longest.max(queue.oldest_age.unwrap_or_default());
    }
    assert!(longest <= 17 * MINUTE, "{longest:?}");
    assert_eq!(rig.seen_so_far(), ["error 1", "info", "error 2"]);
    finish(&listener).await;
}

/// A process whose copies are all refused, and counted.
fn no_copies(process: Process, tries: &Arc<AtomicU32>) -> Transport {
    let tries = Arc::clone(tries);
    sending(&Transport::new(process, "model"), move |_, outgoing| {
        tries.fetch_add(1, Ordering::SeqCst);
        let (route, size) = (outgoing.route.to_string(), outgoing.body.len());
        std::future::ready(Err(SendError::TooLarge { route, size, limit: 1 }))
    })
}

#[tokio::test(start_paused = true)]
async fn a_waiting_suspect_that_cannot_be_moved_keeps_trying() {
    let (model, mut rig) = model();
    let body = br#"{"priority": "error", "event_type": "x", "payload": {"id": 1}}"#;
    rig.put_with(&quarantine("error"), Bytes::from_static(body), Properties::default()).await;
    put(&rig, "info").await;
    let tries = Arc::new(AtomicU32::new(0));
    let transport = no_copies(model.process(), &tries);
    let builder = rig.builder_on(transport);
    let builder = builder.handler_timeout(60 * MINUTE).endpoint(Ordered).endpoint(LongInfo);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(rig.seen_so_far(), ["error 1", "info", "error 2"]);
    // At the 15th minute, and every half minute from the 20th to the 40th.
    let tries = tries.load(Ordering::SeqCst);
    assert!((40..=50).contains(&tries), "{tries}");
    finish(&listener).await;
}

/// Takes 40 minutes.
struct LongInfo;

#[notification_endpoint(register = false, name = "long-info")]
impl LongInfo {
    async fn info(&self, log: State<Log>) {
        tokio::time::sleep(40 * MINUTE).await;
        let _ = log.send("info".to_owned());
    }
}

/// `hold` is 15 minutes by default.
#[tokio::test(start_paused = true)]
async fn a_poison_dead_letter_is_held_from_when_its_delivery_was_received() {
    let (model, rig) = model_with_one().await;
    for _ in 0..5 {
        die_of_one(&model).await;
    }
    let quarantine = quarantine("info");
    let suspect = rig.take(&quarantine).await;
    let builder = rig.builder().executor(Executor::Concurrent(1)).endpoint(First);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &0).await.unwrap();
    tokio::time::sleep(SECOND).await;
    rig.put_with(&quarantine, suspect.body, suspect.properties).await;
    model.change(|conditions| conditions.dead_letters_full = true);
    let held = || {
        let queues = listener.health().queues;
        let queue = queues.into_iter().find(|health| health.queue == quarantine);
        queue.and_then(|health| health.oldest_age).unwrap_or_default()
    };
    tokio::time::sleep(14 * MINUTE).await;
    assert!(held() >= 14 * MINUTE, "{:?}", held());
    tokio::time::sleep(3 * MINUTE).await;
    assert!(held() < 3 * MINUTE, "{:?}", held());
    model.change(|conditions| conditions.dead_letters_full = false);
    tokio::time::sleep(2 * MINUTE).await;
    finish(&listener).await;
    assert_eq!(rig.dead_letter().await.reason, "poison");
}
