//! Health and events of a listener while it works and while its copies cannot be sent, as probes and
//! observers see them; and duplicates, which an inbox recognizes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use listener::ListenerBuilder;
use listener::driver::Route;
use listener::driver::SendError;
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::options::RetryOptions;
use listener::{
    Context, EnvelopeVersion, MemoryInbox, Notifier, OrderKey, State, Transport,
    notification_endpoint,
};

use crate::rig::{Log, Rig, finish, once};
use crate::sending::sending;

/// Fails for the payload 0.
pub(crate) struct Picky;

#[notification_endpoint(register = false, name = "picky")]
impl Picky {
    async fn info(&self, payload: u32, log: State<Log>) -> Result<(), &'static str> {
        let _ = log.send(format!("picky {payload}"));
        if payload == 0 { Err("zero") } else { Ok(()) }
    }
}

struct Slow;

#[notification_endpoint(register = false)]
impl Slow {
    async fn warn(&self, log: State<Log>) {
        let _ = log.send("slow begins".to_owned());
        tokio::time::sleep(Duration::from_secs(28 * 60)).await;
    }
}

/// A transport whose dead-letter queues are full while the flag is set.
pub(crate) fn full(below: &Transport, full: &Arc<AtomicBool>) -> Transport {
    let full = Arc::clone(full);
    sending(below, move |below, outgoing| {
        let is_full = full.load(Ordering::SeqCst);
        async move {
            match &outgoing.route {
                Route::Queue(queue) if queue.ends_with(".dead") && is_full => {
                    Err(SendError::Refused { route: outgoing.route.to_string() })
                }
                _ => below.send(outgoing).await,
            }
        }
    })
}

/// Records each event in a few words.
#[derive(Clone, Default)]
pub(crate) struct Recorder(pub(crate) Arc<Mutex<Vec<String>>>);

impl Observer for Recorder {
    fn observe(&self, event: &Event<'_>) {
        let word = match event {
            Event::Received { .. } => "taken".to_owned(),
            Event::Acknowledged { handled, .. } => format!("acknowledged {handled}"),
            Event::Retried { methods, attempts, .. } => format!("retried {methods:?} {attempts}"),
            Event::DeadLettered { reason, methods, .. } => format!("dead {reason} {methods:?}"),
            Event::Paused { queue, .. } => format!("paused {queue}"),
            Event::Resumed { queue, .. } => format!("resumed {queue}"),
            Event::Duplicate { method, .. } => format!("duplicate {method}"),
            Event::Slow { queue, .. } => format!("slow {queue}"),
            Event::Attached => "attached".to_owned(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(word);
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_is_paused_and_not_ready_while_its_dead_letter_cannot_be_sent() {
    let mut rig = Rig::new();
    let is_full = Arc::new(AtomicBool::new(true));
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let full_queues = sending(&full(&rig.transport, &is_full), move |below, outgoing| {
        if matches!(outgoing.route, Route::Queue(_)) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        async move { below.send(outgoing).await }
    });
    let recorder = Recorder::default();
    let builder = rig.builder_on(full_queues).retry(once());
    let listener =
        builder.observer(recorder.clone()).endpoint(Picky).endpoint(Slow).build().unwrap();
    listener.start().await.unwrap();
    assert!(listener.is_ready());
    let notifier = rig.notifier();
    notifier.info(&Context::new(), "x", &0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(!listener.is_ready());
    let health = listener.health();
    assert_eq!(health.paused.len(), 1, "{health:?}");
    assert_eq!(
        (health.paused[0].queue.as_str(), health.paused[0].methods.as_slice()),
        ("notifications.info.dead", &["picky::info".to_owned()][..])
    );
    // Its method is not called for other notifications, while those of other endpoints are.
    notifier.info(&Context::new(), "x", &1).await.unwrap();
    notifier.warn(&Context::new(), "x", &1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(rig.seen_so_far(), ["picky 0", "slow begins"]);
    is_full.store(false, Ordering::SeqCst);
    assert_eq!(rig.seen().await, "picky 1");
    assert!(listener.is_ready());
    assert_eq!(rig.dead_letter().await.reason, "error");
    let words = recorder.0.lock().unwrap().clone();
    assert_eq!(
        pauses(&words),
        ["paused notifications.info.dead", "resumed notifications.info.dead"]
    );
    finish(&listener).await;
}

/// The reported pauses and their ends.
fn pauses(words: &[String]) -> Vec<&str> {
    let is_one = |word: &&str| word.starts_with("paused") || word.starts_with("resumed");
    words.iter().map(String::as_str).filter(is_one).collect()
}

/// Meanwhile the delivery is replaced several times, and the listener stops and starts.
#[tokio::test(start_paused = true)]
async fn a_pause_is_reported_once_and_ends_when_a_copy_was_sent() {
    let rig = Rig::new();
    let is_full = Arc::new(AtomicBool::new(true));
    let full_queues = full(&rig.transport, &is_full);
    let recorder = Recorder::default();
    let builder = rig.builder_on(full_queues).retry(once());
    let listener = builder.observer(recorder.clone()).endpoint(Picky).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3000)).await;
    finish(&listener).await;
    let words = recorder.0.lock().unwrap().clone();
    assert_eq!(pauses(&words), ["paused notifications.info.dead"]);
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    is_full.store(false, Ordering::SeqCst);
    assert_eq!(rig.dead_letter().await.reason, "error");
    tokio::time::sleep(Duration::from_secs(100)).await;
    let words = recorder.0.lock().unwrap().clone();
    assert_eq!(
        pauses(&words),
        ["paused notifications.info.dead", "resumed notifications.info.dead"]
    );
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn observers_see_what_happens_to_each_delivery() {
    let rig = Rig::new();
    let recorder = Recorder::default();
    let builder = rig.builder().retry(RetryOptions::default().attempts(2));
    let listener = builder.observer(recorder.clone()).endpoint(Picky).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.notifier().info(&Context::new(), "x", &0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    finish(&listener).await;
    assert_eq!(
        *recorder.0.lock().unwrap(),
        [
            "attached",
            "taken",
            "acknowledged 1",
            "taken",
            "retried [\"picky::info\"] 1",
            "acknowledged 0",
            "taken",
            "dead error [\"picky::info\"]",
            "acknowledged 0",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn health_counts_deliveries_in_flight_and_settled() {
    let mut rig = Rig::new();
    let builder = rig.builder().handler_timeout(Duration::from_secs(3600));
    let recorder = Recorder::default();
    let listener =
        builder.observer(recorder.clone()).endpoint(Picky).endpoint(Slow).build().unwrap();
    assert_eq!(listener.health().connection, None);
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    rig.notifier().warn(&Context::new(), "x", &1).await.unwrap();
    assert_eq!([rig.seen().await, rig.seen().await], ["picky 1", "slow begins"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let health = listener.health();
    let queues: Vec<_> = health
        .queues
        .iter()
        .map(|queue| (queue.queue.as_str(), queue.in_flight, queue.started, queue.acknowledged))
        .collect();
    assert_eq!(queues, [("notifications.info", 0, 0, 1), ("notifications.warn", 1, 1, 0)]);
    assert!(health.is_progressing(Duration::from_secs(3600)));
    assert!(!health.is_progressing(Duration::from_secs(30)));
    // The broker would requeue it after 30 minutes: it is reported before.
    tokio::time::sleep(Duration::from_secs(25 * 60)).await;
    assert!(recorder.0.lock().unwrap().contains(&"slow notifications.warn".to_owned()));
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn with_an_inbox_each_method_handles_a_duplicate_once() {
    let mut rig = Rig::new();
    let recorder = Recorder::default();
    let builder = rig.builder().inbox(MemoryInbox::new(100)).observer(recorder.clone());
    let listener = builder.endpoint(Picky).build().unwrap();
    listener.start().await.unwrap();
    // One notification in both versions of the envelope, three times.
    let message = |version: EnvelopeVersion| {
        listener::envelope::encode(
            version,
            &listener::envelope::Message {
                message_id: "7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d",
                publisher_id: None,
                event_type: "x",
                priority: listener::Priority::Info,
                payload: &5,
                timestamp: "2026-05-09 07:29:33.123456",
                unique_id: "0123456789abcdef0123456789abcdef",
                context: &Context::new(),
            },
        )
        .unwrap()
    };
    rig.send_raw(message(EnvelopeVersion::V1)).await;
    rig.send_raw(message(EnvelopeVersion::V2)).await;
    rig.send_raw(message(EnvelopeVersion::V2)).await;
    let notifier = Notifier::builder(rig.transport.clone()).build().unwrap();
    notifier.info(&Context::new(), "x", &6).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    finish(&listener).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, ["picky 5", "picky 6"]);
    let words = recorder.0.lock().unwrap();
    assert_eq!(words.iter().filter(|word| *word == "duplicate picky::info").count(), 2);
}

/// A transport that refuses each copy as too large while the flag is set, like a broker whose limit was
/// lowered.
fn limited(below: &Transport, limited: &Arc<AtomicBool>) -> Transport {
    let limited = Arc::clone(limited);
    sending(below, move |below, outgoing| {
        let is_limited = limited.load(Ordering::SeqCst);
        async move {
            if is_limited {
                let (route, size) = (outgoing.route.to_string(), outgoing.body.len());
                return Err(SendError::TooLarge { route, size, limit: size - 1 });
            }
            below.send(outgoing).await
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_above_the_size_limit_pauses_no_method_and_is_not_lost() {
    let mut rig = Rig::new();
    let is_limited = Arc::new(AtomicBool::new(true));
    let limiting = limited(&rig.transport, &is_limited);
    let builder = rig.builder_on(limiting).retry(once());
    let listener = builder.endpoint(Picky).build().unwrap();
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    for number in 0..10 {
        notifier.info(&Context::new(), "x", &number).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(listener.is_ready(), "{:?}", listener.health());
    assert_eq!(listener.health().refused, 1);
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, (0..10).map(|number| format!("picky {number}")).collect::<Vec<_>>());
    // It is redelivered after it has been held.
    tokio::time::sleep(Duration::from_secs(15 * 60)).await;
    assert_eq!((rig.seen_so_far(), listener.health().refused), (vec!["picky 0".to_owned()], 2));
    is_limited.store(false, Ordering::SeqCst);
    let dead_letter = rig.dead_letter().await;
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.methods.as_str()),
        ("error", "picky::info")
    );
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_above_the_size_limit_is_not_requeued_in_a_loop() {
    let rig = Rig::new();
    let is_limited = Arc::new(AtomicBool::new(true));
    let limiting = limited(&rig.transport, &is_limited);
    let retry = once().hold(Duration::from_nanos(1));
    let builder = rig.builder_on(limiting).retry(retry);
    let listener = builder.endpoint(Picky).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let refused = listener.health().refused;
    assert!((2..=10).contains(&refused), "{refused}");
    finish(&listener).await;
}

/// Ten notifications, of which the first fails and its dead letter is refused: all are called within ten
/// minutes.
async fn all_are_called_after_a_refused_one(change: impl Fn(ListenerBuilder) -> ListenerBuilder) {
    let mut rig = Rig::new();
    let is_limited = Arc::new(AtomicBool::new(true));
    let limiting = limited(&rig.transport, &is_limited);
    let builder = rig.builder_on(limiting).retry(once());
    let listener = change(builder).endpoint(Picky).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..10 {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let expected: Vec<_> = (0..10).map(|number| format!("picky {number}")).collect();
    assert_eq!(rig.seen_so_far(), expected);
    assert_eq!((listener.is_ready(), listener.health().refused), (true, 1));
    // It is held, and released at a stop.
    finish(&listener).await;
    rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_above_the_size_limit_does_not_block_a_sequential_listener() {
    all_are_called_after_a_refused_one(|builder| builder.executor(Executor::Sequential)).await;
    let few = |builder: ListenerBuilder| builder.executor(Executor::Sequential).prefetch(2);
    all_are_called_after_a_refused_one(few).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_above_the_size_limit_does_not_block_its_order_key() {
    all_are_called_after_a_refused_one(|builder| builder.ordered_by(OrderKey::EventType)).await;
}
