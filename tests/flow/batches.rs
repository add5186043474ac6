//! Methods that take a batch: what is called together, and when. Failures are in `batch_failures.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use listener::options::Executor;
use listener::{
    Batch, BatchItem, BatchOutcome, Context, Listener, ListenerBuilder, MemoryInbox, OrderKey,
    Outcome, Priority, State, notification_endpoint,
};
use tokio::time::Instant;

use crate::rig::{Log, Rig, finish};

const SECOND: Duration = Duration::from_secs(1);

/// Batches of the listener's options.
struct Plain;

#[notification_endpoint(register = false, name = "plain")]
impl Plain {
    #[on(info, error, sample)]
    async fn store(&self, batch: Batch<'_, u32>, priority: Priority, log: State<Log>) {
        let payloads: Vec<u32> = batch.into_payloads();
        let _ = log.send(format!("{priority} {payloads:?}"));
    }
}

/// Batches of five, or of what arrives within a second.
struct Fives;

#[notification_endpoint(register = false, name = "fives", event_type = "^five")]
impl Fives {
    #[on(info, batch(size = 5, timeout = "1s"))]
    async fn store(&self, batch: Vec<BatchItem<'_, u32>>, log: State<Log>) {
        let items = batch.iter().map(|item| {
            assert_eq!(item.publisher_id(), "compute.host1");
            assert_eq!(item.ctxt().unwrap().get_str("user_id"), Some("u1"));
            assert_eq!(item.attempt(), 1);
            format!("{} {}", item.event_type(), item.payload)
        });
        let _ = log.send(items.collect::<Vec<_>>().join(", "));
    }
}

/// A plain `fn`, with the batch rule of its block.
struct Blocking;

#[notification_endpoint(register = false, name = "blocking", batch(size = 3, bytes = 100_000))]
impl Blocking {
    fn info(batch: &[String], log: State<Log>) {
        let lengths: Vec<usize> = batch.iter().map(String::len).collect();
        let _ = log.send(format!("{lengths:?}"));
    }
}

/// Handles single notifications.
struct Single;

#[notification_endpoint(register = false, name = "single", order = 1)]
impl Single {
    async fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("single {payload}"));
    }
}

fn sized(rig: &Rig, size: u16, timeout: Duration) -> ListenerBuilder {
    rig.builder().batch_size(size).batch_timeout(timeout)
}

async fn started(builder: ListenerBuilder) -> Listener {
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    listener
}

async fn send(rig: &Rig, payloads: impl IntoIterator<Item = u32>) {
    for payload in payloads {
        rig.notifier().info(&Context::new(), "number", &payload).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_complete_with_its_size_or_when_its_time_is_over() {
    let mut rig = Rig::new();
    let listener = started(sized(&rig, 5, SECOND).endpoint(Plain)).await;
    let began = Instant::now();
    send(&rig, 1..=12).await;
    assert_eq!(rig.seen().await, "INFO [1, 2, 3, 4, 5]".to_lowercase());
    assert_eq!(rig.seen().await, "info [6, 7, 8, 9, 10]");
    assert!(began.elapsed() < SECOND);
    assert_eq!(rig.seen().await, "info [11, 12]");
    assert!(began.elapsed() >= SECOND);
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_batch_begins_with_its_first_notification() {
    let mut rig = Rig::new();
    let listener = started(sized(&rig, 5, SECOND).endpoint(Plain)).await;
    tokio::time::sleep(10 * SECOND).await;
    let began = Instant::now();
    send(&rig, [1]).await;
    tokio::time::sleep(SECOND / 2).await;
    send(&rig, [2]).await;
    assert_eq!(rig.seen().await, "info [1, 2]");
    let elapsed = began.elapsed();
    assert!(elapsed >= SECOND && elapsed < SECOND + SECOND / 10, "{elapsed:?}");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn each_priority_has_batches_of_its_own() {
    let mut rig = Rig::new();
    let listener = started(sized(&rig, 2, SECOND).endpoint(Plain)).await;
    let (notifier, ctxt) = (rig.notifier(), Context::new());
    for payload in [1, 2, 3] {
        notifier.sample(&ctxt, "number", &payload).await.unwrap();
        notifier.error(&ctxt, "number", &(10 * payload)).await.unwrap();
    }
    let mut seen = [rig.seen().await, rig.seen().await, rig.seen().await, rig.seen().await];
    seen.sort();
    assert_eq!(seen, ["error [10, 20]", "error [30]", "sample [1, 2]", "sample [3]"]);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_method_has_the_rule_of_its_attribute_and_its_filter() {
    let mut rig = Rig::new();
    let listener = started(sized(&rig, 2, SECOND / 10).endpoint(Fives)).await;
    let (notifier, ctxt) = (rig.notifier(), Context::new().with("user_id", "u1"));
    for payload in 1..=6 {
        let event_type = if payload == 3 { "other" } else { "five" };
        notifier.info(&ctxt, event_type, &payload).await.unwrap();
    }
    assert_eq!(rig.seen().await, "five 1, five 2, five 4, five 5, five 6");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_plain_fn_takes_a_batch_that_its_bytes_complete() {
    let mut rig = Rig::new();
    let listener = started(rig.builder().endpoint(Blocking)).await;
    let began = Instant::now();
    for length in [1, 2, 3, 4, 100_000] {
        rig.notifier().info(&Context::new(), "text", &"a".repeat(length)).await.unwrap();
    }
    assert_eq!(rig.seen().await, "[1, 2, 3]");
    assert_eq!(rig.seen().await, "[4, 100000]");
    assert!(began.elapsed() < SECOND, "it does not wait for a third one");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_calls_the_method_for_what_waits() {
    let mut rig = Rig::new();
    let listener = started(sized(&rig, 100, 3600 * SECOND).endpoint(Plain)).await;
    send(&rig, [1, 2, 3]).await;
    let began = Instant::now();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["info [1, 2, 3]"]);
    assert!(began.elapsed() < SECOND);
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_may_be_larger_than_the_number_of_slots() {
    for executor in [Executor::Concurrent(2), Executor::Sequential] {
        let mut rig = Rig::new();
        let builder = sized(&rig, 50, 3600 * SECOND).executor(executor).endpoint(Plain);
        let listener = started(builder.endpoint(Single)).await;
        send(&rig, 1..=50).await;
        let all: Vec<u32> = (1..=50).collect();
        assert_eq!(rig.seen().await, format!("info {all:?}"), "{executor:?}");
        for _ in all {
            assert!(rig.seen().await.starts_with("single "));
        }
        finish(&listener).await;
        rig.assert_empty("notifications.info").await;
    }
}

/// Takes a second, and logs how many calls run at the same time.
struct Slow;

#[notification_endpoint(register = false, name = "slow", order = 1)]
impl Slow {
    async fn info(&self, running: State<AtomicUsize>, log: State<Log>) {
        let calls = running.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(SECOND).await;
        running.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(calls.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_batch_other_methods_are_called_within_the_concurrency() {
    let mut rig = Rig::new();
    let builder = sized(&rig, 10, SECOND).executor(Executor::Concurrent(2));
    let builder = builder.state(AtomicUsize::new(0)).endpoint(Plain).endpoint(Slow);
    let listener = started(builder).await;
    send(&rig, 1..=10).await;
    assert!(rig.seen().await.starts_with("info [1, 2, "));
    for _ in 0..10 {
        let calls: usize = rig.seen().await.parse().unwrap();
        assert!(calls <= 2, "{calls} calls at the same time");
    }
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_at_most_as_many_notifications_as_the_prefetch() {
    let mut rig = Rig::new();
    let builder = sized(&rig, 1000, 3600 * SECOND).prefetch(10);
    let listener = started(builder.endpoint(Plain)).await;
    send(&rig, 1..=10).await;
    assert_eq!(rig.seen().await, "info [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn notifications_with_one_order_key_are_in_different_batches() {
    for executor in [Executor::Concurrent(4), Executor::Sequential] {
        let mut rig = Rig::new();
        let builder = sized(&rig, 3, SECOND).ordered_by(OrderKey::EventType).executor(executor);
        let listener = started(builder.endpoint(Plain)).await;
        let (notifier, ctxt) = (rig.notifier(), Context::new());
        for (event_type, payload) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
            notifier.info(&ctxt, event_type, &payload).await.unwrap();
        }
        let seen = [rig.seen().await, rig.seen().await, rig.seen().await];
        assert_eq!(seen, ["info [1, 3]", "info [2]", "info [4]"], "{executor:?}");
        finish(&listener).await;
        rig.assert_empty("notifications.info").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_inbox_has_is_not_in_a_batch() {
    let mut rig = Rig::new();
    let builder = sized(&rig, 2, SECOND).inbox(MemoryInbox::new(100));
    let listener = started(builder.endpoint(Plain)).await;
    for id in ["a", "b", "a", "c", "b", "d"] {
        let payload = id.as_bytes()[0];
        let body = format!(
            r#"{{"message_id": "{id}", "event_type": "e", "priority": "INFO", "payload": {payload}}}"#
        );
        rig.send_raw(body).await;
    }
    assert_eq!(rig.seen().await, "info [97, 98]");
    assert_eq!(rig.seen().await, "info [99, 100]");
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    rig.assert_empty("notifications.info").await;
}

/// One outcome for each item, of a function that is called concurrently.
struct Each;

#[notification_endpoint(register = false, name = "each")]
impl Each {
    async fn info(&self, batch: Batch<'_, u64>, log: State<Log>) -> BatchOutcome {
        let log = &log;
        batch
            .each_concurrent(10, |item| async move {
                tokio::time::sleep(Duration::from_secs(item.payload)).await;
                let _ = log.send(format!("{}", item.payload));
                Outcome::Handled
            })
            .await
    }

    async fn warn(&self, batch: Batch<'_, u64>, log: State<Log>) -> Result<BatchOutcome, String> {
        let each = async |item: BatchItem<'_, u64>| {
            let _ = log.send(format!("{}", item.payload));
            Ok::<(), String>(())
        };
        Ok(batch.each(each).await)
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_is_called_for_each_item() {
    let mut rig = Rig::new();
    let listener = started(sized(&rig, 3, SECOND).endpoint(Each)).await;
    send(&rig, [3, 1, 2]).await;
    assert_eq!([rig.seen().await, rig.seen().await, rig.seen().await], ["1", "2", "3"]);
    for payload in [3_u32, 1, 2] {
        rig.notifier().warn(&Context::new(), "number", &payload).await.unwrap();
    }
    assert_eq!([rig.seen().await, rig.seen().await, rig.seen().await], ["3", "1", "2"]);
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}
