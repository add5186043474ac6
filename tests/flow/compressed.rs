//! Compressed bodies that are large once decompressed: those decompressed at one time fit a budget, and
//! a body that waits for the budget delays no others. `tests/bounded` measures the memory.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use listener::ListenerBuilder;
use listener::driver::Properties;
use listener::envelope::Compression;
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::testing::Model;
use listener::{Context, MemoryInbox, Metadata, OrderKey, State, Transport, notification_endpoint};
use tokio::time::Instant;

use crate::rig::{Log, Rig, finish};

/// How many decompressed bytes may be held at one time: fewer than one body has.
const BUDGET: usize = 128 << 10;
const LARGE: usize = 256 << 10;
const CALL: Duration = Duration::from_secs(300);

/// Takes five minutes for each notification.
struct Slow;

#[notification_endpoint(register = false, name = "slow", event_type = "^slow$")]
impl Slow {
    async fn info(&self, metadata: &Metadata, log: State<Log>) {
        let _ = log.send(format!("slow {}", metadata.message_id()));
        tokio::time::sleep(CALL).await;
    }
}

struct Quick;

#[notification_endpoint(register = false, name = "quick", event_type = "^quick$")]
impl Quick {
    async fn info(&self, metadata: &Metadata, log: State<Log>) {
        let _ = log.send(format!("quick {}", metadata.message_id()));
    }
}

struct Urgent;

#[notification_endpoint(register = false, name = "urgent")]
impl Urgent {
    async fn error(&self, metadata: &Metadata, log: State<Log>) {
        let _ = log.send(format!("urgent {}", metadata.message_id()));
    }
}

fn body(event_type: &str, number: u32, padding: usize) -> Vec<u8> {
    let padding = " ".repeat(padding);
    format!(
        r#"{{"priority": "INFO", "event_type": "{event_type}", "message_id": "{number}", "payload": {{"key": 1, "x": "{padding}"}}}}"#
    )
    .into_bytes()
}

fn compressed() -> Properties {
    let mut properties =
        Properties::default().content_type(Some(Cow::Borrowed("application/json")));
    properties.headers.insert("compression", Compression::Zlib.content_type().into());
    properties
}

/// Sends a large body, compressed to a few hundred bytes.
async fn send(rig: &Rig, event_type: &str, number: u32) {
    let body = Compression::Zlib.compress(&body(event_type, number, LARGE));
    assert!(body.len() < 1024);
    rig.send_with(Bytes::from(body), compressed()).await;
}

fn builder(rig: &Rig) -> ListenerBuilder {
    rig.builder().bytes_in_flight(BUDGET).endpoint(Slow).endpoint(Quick)
}

#[tokio::test(start_paused = true)]
async fn bodies_waiting_for_the_budget_delay_no_others_and_are_handled_eventually() {
    let mut rig = Rig::new();
    let listener = builder(&rig).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..100 {
        send(&rig, "slow", number).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["slow 0"], "one body takes the whole budget");
    rig.send_raw(body("quick", 1, 0)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["quick 1"], "it is not compressed, and a slot is free");
    tokio::time::sleep(3 * CALL).await;
    assert_eq!(rig.seen_so_far(), ["slow 1", "slow 2", "slow 3"]);
    listener.stop().await;
    listener.wait().await.unwrap();
}

/// As with slots: no priority can take the last eighth, and none blocks another.
#[tokio::test(start_paused = true)]
async fn a_flood_of_compressed_info_does_not_delay_compressed_errors() {
    for budget in [4 * LARGE, 10 * LARGE] {
        let mut rig = Rig::new();
        let builder = builder(&rig).bytes_in_flight(budget).endpoint(Urgent);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        for number in 0..20 {
            send(&rig, "slow", number).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.seen_so_far().len() < 10, "the others wait for the budget");
        for number in 0..3_u32 {
            let body = body("x", number, 0);
            let body = String::from_utf8(body).unwrap().replace("INFO", "ERROR");
            let body = Bytes::from(Compression::Zlib.compress(body.as_bytes()));
            rig.put_with("notifications.error", body, compressed()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(rig.seen_so_far(), [format!("urgent {number}")], "{budget}");
        }
        tokio::time::sleep(8 * CALL).await;
        assert!(rig.seen_so_far().len() > 5, "they are handled eventually");
        finish(&listener).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_larger_than_the_whole_budget_is_handled() {
    for executor in [Executor::Sequential, Executor::Concurrent(1), Executor::Concurrent(64)] {
        let mut rig = Rig::new();
        let listener = builder(&rig).executor(executor).build().unwrap();
        listener.start().await.unwrap();
        for number in 0..10 {
            send(&rig, "quick", number).await;
        }
        let mut seen = Vec::new();
        for _ in 0..10 {
            seen.push(rig.seen().await);
        }
        seen.sort();
        assert_eq!(seen, (0..10).map(|number| format!("quick {number}")).collect::<Vec<_>>());
        finish(&listener).await;
        rig.assert_empty("notifications.info").await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_waiting_for_the_budget_are_released_at_a_stop() {
    let mut rig = Rig::new();
    let listener = builder(&rig).shutdown_timeout(2 * CALL).build().unwrap();
    listener.start().await.unwrap();
    let began = Instant::now();
    for number in 0..10 {
        send(&rig, "slow", number).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    assert_eq!(rig.seen_so_far(), ["slow 0"]);
    assert_eq!(began.elapsed().as_secs(), CALL.as_secs(), "the first call finishes");
    for _ in 1..10 {
        rig.take("notifications.info").await;
    }
    rig.assert_empty("notifications.info").await;
}

#[derive(Clone, Default)]
struct Stale(Arc<AtomicU32>);

impl Observer for Stale {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Stale { .. } = event {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_waiting_for_the_budget_notice_the_end_of_their_session() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    let stale = Stale::default();
    let listener = builder(&rig).observer(stale.clone()).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..10 {
        send(&rig, "slow", number).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["slow 0"]);
    model.lose_connections("cut");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(stale.0.load(Ordering::SeqCst), 9, "all but the one in work");
    listener.stop().await;
    listener.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_among_bodies_of_every_size() {
    let mut rig = Rig::new();
    let key = OrderKey::Payload("key".to_owned());
    let builder = builder(&rig).ordered_by(key).inbox(MemoryInbox::new(100));
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    for number in 0..20 {
        match number % 3 {
            0 => send(&rig, "quick", number).await,
            1 => rig.send_raw(body("quick", number, 0)).await,
            // Not compressed, and large.
            _ => rig.send_raw(body("quick", number, LARGE)).await,
        }
    }
    for number in 0..20 {
        assert_eq!(rig.seen().await, format!("quick {number}"));
    }
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

/// With an order key a body is decompressed before its methods begin: a stop does not wait for those
/// that are not decompressed yet.
#[tokio::test(start_paused = true)]
async fn a_stop_releases_bodies_that_are_not_yet_decompressed() {
    let mut rig = Rig::new();
    let key = OrderKey::Payload("key".to_owned());
    let listener = builder(&rig).ordered_by(key).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..50 {
        send(&rig, "quick", number).await;
    }
    listener.stop().await;
    listener.wait().await.unwrap();
    let handled = rig.seen_so_far().len();
    for _ in handled..50 {
        rig.take("notifications.info").await;
    }
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_decompression_limit_is_a_dead_letter() {
    let rig = Rig::new();
    let limits = listener::envelope::Limits::default().max_decompressed(1000);
    let listener = builder(&rig).limits(limits).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "quick", 1).await;
    let dead_letter = rig.dead_letter().await;
    assert_eq!(dead_letter.reason, "undecodable");
    assert!(dead_letter.error.contains("(expected at most 1000)"), "{}", dead_letter.error);
    rig.notifier().info(&Context::new(), "quick", &"x".repeat(2000)).await.unwrap();
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}
