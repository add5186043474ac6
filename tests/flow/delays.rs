//! Delays of more than a day, which a broker cannot hold in one piece: a copy is delayed repeatedly
//! until the time is over. Over the in-memory bus, and over a driver with RabbitMQ's longest delay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use listener::driver::Route;
use listener::driver::SendError;
use listener::driver::{HeaderValue, Properties};
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::options::RetryOptions;
use listener::testing::Model;
use listener::{Attempt, Context, Listener, Outcome, State, Transport, notification_endpoint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::rig::{Log, Rig, finish};
use crate::sending::sending;
use crate::steps::{Mortal, When};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const REMAINING: &str = "listener-remaining";
const BODY: &str = r#"{"priority": "INFO", "event_type": "x", "payload": 1}"#;

/// Asks at its first call for a retry after as many hours as the payload says.
struct RetriesLater;

#[notification_endpoint(register = false, name = "later")]
impl RetriesLater {
    async fn info(&self, payload: u32, attempt: Attempt, log: State<Log>) -> Outcome {
        let _ = log.send(format!("call {}", attempt.0));
        match attempt.0 {
            1 => Outcome::retry_after(HOUR * payload),
            _ => Outcome::Handled,
        }
    }
}

/// Handles at the first call.
struct HandlesAtOnce;

#[notification_endpoint(register = false, name = "once")]
impl HandlesAtOnce {
    async fn info(&self, attempt: Attempt, log: State<Log>) {
        let _ = log.send(format!("call {}", attempt.0));
    }
}

/// A broker that delays nothing for more than a day, or nothing at all if `never` is set.
fn at_most_a_day(below: &Transport, never: bool) -> Transport {
    sending(below, move |below, outgoing| async move {
        match outgoing.route {
            Route::Delayed { delay, .. } if delay > DAY || never => {
                let route = outgoing.route.to_string();
                Err(SendError::NoDelay { route, reason: "too long".to_owned() })
            }
            _ => below.send(outgoing).await,
        }
    })
}

/// The calls for one notification, and when they came, in hours.
async fn calls(listener: &Listener, rig: &mut Rig, hours: u32) -> Vec<(String, f64)> {
    listener.start().await.unwrap();
    let began = Instant::now();
    rig.notifier().info(&Context::new(), "x", &hours).await.unwrap();
    let mut calls = Vec::new();
    while let Ok(line) = tokio::time::timeout(DAY * 3, rig.next_line()).await {
        calls.push((line, (began.elapsed().as_secs_f64() / 36.0).round() / 100.0));
    }
    finish(listener).await;
    for queue in ["notifications.info", "notifications.info.dead"] {
        rig.assert_empty(queue).await;
    }
    calls
}

fn two_calls(hours: f64) -> Vec<(String, f64)> {
    vec![("call 1".to_owned(), 0.0), ("call 2".to_owned(), hours)]
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_any_length_is_honoured() {
    for hours in [24, 25, 48, 49, 60] {
        let mut rig = Rig::new();
        let builder = rig.builder_on(at_most_a_day(&rig.transport, false));
        let listener = builder.endpoint(RetriesLater).build().unwrap();
        assert_eq!(calls(&listener, &mut rig, hours).await, two_calls(hours.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sequential_listener_honours_a_long_delay() {
    let mut rig = Rig::new();
    let builder = rig.builder().executor(Executor::Sequential);
    let listener = builder.endpoint(RetriesLater).build().unwrap();
    assert_eq!(calls(&listener, &mut rig, 30).await, two_calls(30.0));
}

/// Records reported retries and dead letters.
struct Retries(mpsc::UnboundedSender<String>);

impl Observer for Retries {
    fn observe(&self, event: &Event<'_>) {
        let text = match event {
            Event::Retried { attempts, delay: after, .. } => {
                format!("retried {attempts} {after:?}")
            }
            Event::DeadLettered { reason, .. } => format!("dead {reason}"),
            _ => return,
        };
        let _ = self.0.send(text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_delay_is_reported_to_observers_once() {
    let mut rig = Rig::new();
    let (sender, mut events) = mpsc::unbounded_channel();
    let listener = rig.builder().observer(Retries(sender)).endpoint(RetriesLater).build().unwrap();
    calls(&listener, &mut rig, 60).await;
    let events: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert_eq!(events, ["retried 1 216000s"]);
}

/// The hours until the method is called for a message with this header; it is called once.
async fn until_called(value: HeaderValue, others: &[(&str, HeaderValue)]) -> f64 {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(HandlesAtOnce).build().unwrap();
    listener.start().await.unwrap();
    let mut properties = Properties::default();
    properties.headers.insert(REMAINING, value);
    for (name, value) in others {
        properties.headers.insert(*name, value.clone());
    }
    let began = Instant::now();
    rig.send_with(BODY, properties).await;
    let line = tokio::time::timeout(DAY * 3, rig.next_line()).await.expect("it is called");
    let hours = began.elapsed().as_secs_f64() / 3600.0;
    assert_eq!(line, "call 1");
    assert!(tokio::time::timeout(DAY * 3, rig.next_line()).await.is_err(), "it is called once");
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    hours.round()
}

#[tokio::test(start_paused = true)]
async fn a_remaining_delay_written_by_a_publisher_is_honoured() {
    assert_eq!(until_called(HeaderValue::Int64(-1), &[]).await, 0.0);
    assert_eq!(until_called("many".into(), &[]).await, 0.0);
    assert_eq!(until_called(HeaderValue::Int64(0), &[]).await, 0.0);
    assert_eq!(until_called(HeaderValue::Int64(7200), &[]).await, 2.0);
    assert_eq!(until_called(HeaderValue::Timestamp(180_000), &[]).await, 50.0);
}

#[tokio::test(start_paused = true)]
async fn no_other_header_lengthens_a_delay() {
    let others = [
        ("x-death", HeaderValue::Array(Vec::new())),
        ("x-first-death-reason", "expired".into()),
        ("x-last-death-queue", "notifications.info.retry.131072s".into()),
        ("listener-time", HeaderValue::Timestamp(u64::MAX)),
        ("listener-first-time", HeaderValue::Timestamp(u64::MAX)),
    ];
    assert_eq!(until_called(HeaderValue::Int64(7200), &others).await, 2.0);
    // Time spent in its queue counts as waited.
    let long_ago = [("listener-time", HeaderValue::Timestamp(1))];
    assert_eq!(until_called(HeaderValue::Int64(7200), &long_ago).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_put_back_skips_its_remaining_delay() {
    let reason = [("listener-reason", "error".into())];
    assert_eq!(until_called(HeaderValue::Int64(7200), &reason).await, 0.0);
}

/// A header written by a publisher delays only its own message.
#[tokio::test(start_paused = true)]
async fn a_remaining_delay_does_not_block_a_sequential_listener() {
    let mut rig = Rig::new();
    let builder = rig.builder().executor(Executor::Sequential);
    let listener = builder.endpoint(HandlesAtOnce).build().unwrap();
    listener.start().await.unwrap();
    let mut properties = Properties::default();
    properties.headers.insert(REMAINING, HeaderValue::Int64(600));
    let began = Instant::now();
    rig.send_with(BODY, properties).await;
    rig.send_with(BODY, Properties::default()).await;
    assert_eq!(rig.seen().await, "call 1");
    assert_eq!(began.elapsed().as_secs(), 0, "the second waited for the first");
    assert_eq!(rig.seen().await, "call 1");
    assert!(began.elapsed().as_secs() >= 600);
    finish(&listener).await;
}

/// Each copy may take long, and the next message of the flood arrives meanwhile.
#[tokio::test(start_paused = true)]
async fn a_flood_with_remaining_delays_does_not_delay_other_notifications() {
    let mut rig = Rig::new();
    let slow = sending(&rig.transport, |below, outgoing| async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        below.send(outgoing).await
    });
    let listener = rig.builder_on(slow).endpoint(HandlesAtOnce).build().unwrap();
    listener.start().await.unwrap();
    for _ in 0..5 {
        let mut properties = Properties::default();
        properties.headers.insert(REMAINING, HeaderValue::Int64(600));
        rig.send_with(BODY, properties).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let began = Instant::now();
    rig.send_with(BODY, Properties::default()).await;
    assert_eq!(rig.seen().await, "call 1");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn without_broker_delays_a_remaining_delay_is_held_or_dead_lettered() {
    for (seconds, expected) in [(600, "call 1"), (7200, "retries")] {
        let mut rig = Rig::new();
        let builder = rig.builder_on(at_most_a_day(&rig.transport, true));
        let listener = builder.endpoint(HandlesAtOnce).build().unwrap();
        listener.start().await.unwrap();
        let mut properties = Properties::default();
        properties.headers.insert(REMAINING, HeaderValue::Int64(seconds));
        let began = Instant::now();
        rig.send_with(BODY, properties).await;
        if expected == "retries" {
            assert_eq!(rig.dead_letter().await.reason, expected);
        } else {
            assert_eq!(rig.seen().await, expected);
            assert_eq!(began.elapsed().as_secs(), 600);
        }
        finish(&listener).await;
        assert_eq!(rig.seen_so_far(), [""; 0]);
        rig.assert_empty("notifications.info").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_remaining_delay_held_in_the_process_is_released_at_a_stop() {
    let mut rig = Rig::new();
    let builder = rig.builder_on(at_most_a_day(&rig.transport, true));
    let listener = builder.endpoint(HandlesAtOnce).build().unwrap();
    listener.start().await.unwrap();
    let mut properties = Properties::default();
    properties.headers.insert(REMAINING, HeaderValue::Int64(600));
    rig.send_with(BODY, properties).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let began = Instant::now();
    listener.stop().await;
    listener.wait().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(rig.seen_so_far(), [""; 0]);
    assert_eq!(rig.take("notifications.info").await.body, BODY);
}

/// Runs a process that may die at a step; returns how many steps it took.
async fn run_process(model: &Model, log: &Log, fate: Option<(u64, When)>) -> u64 {
    let (mortal, mut crashed) = Mortal::new(model.process(), fate);
    let builder = Listener::builder().transport(Transport::new(mortal.clone(), "mortal"));
    let listener = builder.state(log.clone()).endpoint(RetriesLater).build().unwrap();
    listener.start().await.unwrap();
    let _ = tokio::time::timeout(DAY * 3, crashed.recv()).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    mortal.taken()
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_a_long_delay_leaves_at_most_one_extra_copy() {
    for when in [When::Before, When::After] {
        let mut step = 0;
        loop {
            let model = Model::new(1);
            let mut rig = Rig::on(Transport::new(model.process(), "model"));
            rig.notifier().info(&Context::new(), "x", &60).await.unwrap();
            let took = run_process(&model, &rig.log(), Some((step, when))).await;
            run_process(&model, &rig.log(), None).await;
            let seen = rig.seen_so_far();
            let context = format!("{when:?} step {step}: {seen:?}, {:?}", model.depths());
            let last = seen.iter().filter(|line| *line == "call 2").count();
            assert!((1..=2).contains(&last), "{context}");
            assert!(seen.len() <= 4, "{context}");
            assert!(model.depths().values().all(|depth| *depth == 0), "{context}");
            if step > took {
                break;
            }
            step += 1;
        }
        // The copy and the settlement of each of three delays, and the final settlement.
        assert!(step >= 7, "{step} steps");
    }
}

/// A copy that is sent for an ended session is a duplicate: the broker redelivers the original.
#[tokio::test(start_paused = true)]
async fn a_delivery_is_not_replaced_by_a_copy_after_its_session_ended() {
    let model = Model::new(1);
    let below = Transport::new(model.process(), "model");
    let moved = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&moved);
    let transport = sending(&below, move |below, outgoing| {
        let moved = Arc::clone(&counted);
        async move {
            match outgoing.route {
                Route::Delayed { .. } => {
                    tokio::time::sleep(outgoing.timeout).await;
                    Err(SendError::Refused { route: outgoing.route.to_string() })
                }
                _ => {
                    moved.fetch_add(1, Ordering::SeqCst);
                    below.send(outgoing).await
                }
            }
        }
    });
    let rig = Rig::on(below);
    let mut properties = Properties::default();
    properties.headers.insert(REMAINING, HeaderValue::Int64(3600));
    rig.put_with("notifications.info", BODY.into(), properties).await;
    let retry = RetryOptions::default().hold(Duration::from_secs(20));
    let builder = rig.builder_on(transport).retry(retry);
    let listener = builder.endpoint(HandlesAtOnce).build().unwrap();
    listener.start().await.unwrap();
    // Its hold is over with the first attempt, after half a minute.
    tokio::time::sleep(Duration::from_secs(15)).await;
    model.lose_connections("lost");
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(moved.load(Ordering::SeqCst), 0);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(moved.load(Ordering::SeqCst), 1, "the copy of the new session");
    finish(&listener).await;
}

/// A copy that a broker delays says so. Another one that carries a remaining delay only waits in its queue.
#[tokio::test(start_paused = true)]
async fn a_copy_that_the_broker_did_not_delay_waits_for_the_rest_of_its_delay_only() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ten_hours_ago = HeaderValue::Timestamp((now - 10 * HOUR).as_secs());
    let two_days = HeaderValue::Int64(48 * 3600);
    assert_eq!(until_called(two_days, &[("listener-time", ten_hours_ago)]).await, 38.0);
}

/// Works for nine minutes on the first one.
struct Busy;

#[notification_endpoint(register = false)]
impl Busy {
    async fn info(&self) {
        tokio::time::sleep(Duration::from_secs(540)).await;
    }
}

/// `hold` is 15 minutes by default.
#[tokio::test(start_paused = true)]
async fn a_remaining_delay_that_cannot_be_sent_is_held_from_when_its_delivery_was_received() {
    let rig = Rig::new();
    let replaced = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&replaced);
    let transport = sending(&rig.transport, move |below, outgoing| {
        let replaced = Arc::clone(&counted);
        async move {
            match outgoing.route {
                Route::Delayed { .. } => {
                    Err(SendError::Refused { route: outgoing.route.to_string() })
                }
                Route::Queue(_) => {
                    replaced.fetch_add(1, Ordering::SeqCst);
                    below.send(outgoing).await
                }
                _ => below.send(outgoing).await,
            }
        }
    });
    let builder = rig.builder_on(transport).executor(Executor::Concurrent(1));
    let builder = builder.handler_timeout(HOUR).shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(Busy).build().unwrap();
    listener.start().await.unwrap();
    rig.send_with(BODY, Properties::default()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut properties = Properties::default();
    properties.headers.insert(REMAINING, HeaderValue::Int64(7200));
    rig.send_with(BODY, properties).await;
    tokio::time::sleep(Duration::from_secs(14 * 60)).await;
    assert_eq!(replaced.load(Ordering::SeqCst), 0);
    tokio::time::sleep(Duration::from_secs(3 * 60)).await;
    assert_eq!(replaced.load(Ordering::SeqCst), 1);
    finish(&listener).await;
}
