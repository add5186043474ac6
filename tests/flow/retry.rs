//! The failure policy end to end: attempts, delays, kinds of errors and the final dead letter. The
//! decisions are unit-tested in `runtime/judge/policy.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use listener::driver::HeaderValue;
use listener::options::{OnFailure, RetryOptions, RetryStorage};
use listener::{
    Attempt, Context, DeliveryInfo, ErrorKind, Listener, Outcome, State, notification_endpoint,
    permanent, retry_after,
};
use tokio::time::Instant;

use crate::rig::{Log, Rig, finish};

/// Fails in the way that the event type names, as many times as the payload says.
#[derive(Clone, Default)]
struct Fails(Arc<AtomicU32>);

#[derive(Debug, thiserror::Error)]
#[error("http {0}")]
struct Http(u16);

#[notification_endpoint(register = false, name = "fails")]
impl Fails {
    async fn info(
        &self,
        event_type: &str,
        payload: u32,
        attempt: Attempt,
        log: State<Log>,
    ) -> Result<Outcome, listener::BoxError> {
        let _ = log.send(format!("{event_type} {}", attempt.0));
        if self.0.fetch_add(1, Ordering::SeqCst) >= payload {
            return Ok(Outcome::Handled);
        }
        match event_type {
            "permanent" => Err(permanent("no tenant"))?,
            "later" => Err(retry_after("too many", Duration::from_secs(300)))?,
            "http" => Err(Http(404))?,
            "hangs" => std::future::pending().await,
            "panic" => panic!("no luck"),
            _ => Err("no price")?,
        }
    }
}

/// Runs one notification to its end. Returns the calls, how long it took, and whether it is a dead
/// letter.
async fn run(
    build: impl FnOnce(&Rig) -> Listener,
    event_type: &str,
    failures: u32,
) -> (Vec<String>, Duration, bool) {
    let mut rig = Rig::new();
    let listener = build(&rig);
    listener.start().await.unwrap();
    let began = Instant::now();
    rig.notifier().info(&Context::new(), event_type, &failures).await.unwrap();
    let mut last = began;
    let mut seen = Vec::new();
    // After an hour without a call it has reached its end.
    while let Ok(line) = tokio::time::timeout(Duration::from_secs(3600), rig.next_line()).await {
        seen.push(line);
        last = Instant::now();
    }
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    let is_dead = !rig.is_empty("notifications.info.dead").await;
    (seen, last - began, is_dead)
}

fn plain(rig: &Rig) -> Listener {
    rig.builder().endpoint(Fails::default()).build().unwrap()
}

fn lines(event_type: &str, calls: u32) -> Vec<String> {
    (1..=calls).map(|attempt| format!("{event_type} {attempt}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_handled_by_a_later_attempt() {
    let (seen, took, is_dead) = run(plain, "error", 2).await;
    assert_eq!((seen, is_dead), (lines("error", 3), false));
    // 0.5 s to 1 s, then 1 s to 2 s.
    assert!((1.5..=3.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_persistent_error_is_a_dead_letter_after_the_last_attempt() {
    let (seen, took, is_dead) = run(plain, "error", 99).await;
    assert_eq!((seen, is_dead), (lines("error", 5), true));
    assert!((7.5..=15.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_retried() {
    let (seen, _, is_dead) = run(plain, "panic", 1).await;
    assert_eq!((seen, is_dead), (lines("panic", 2), false));
}

#[tokio::test(start_paused = true)]
async fn an_error_can_be_permanent_or_ask_for_a_delay() {
    let (seen, _, is_dead) = run(plain, "permanent", 99).await;
    assert_eq!((seen, is_dead), (lines("permanent", 1), true));
    let (seen, took, is_dead) = run(plain, "later", 1).await;
    assert_eq!((seen, took.as_secs(), is_dead), (lines("later", 2), 300, false));
}

#[tokio::test(start_paused = true)]
async fn a_classifier_decides_the_kind_of_an_error() {
    let classified = |rig: &Rig| {
        let builder = rig.builder().classify(|error: &Http| match error.0 {
            404 => ErrorKind::Permanent,
            _ => ErrorKind::Transient,
        });
        builder.endpoint(Fails::default()).build().unwrap()
    };
    let (seen, _, is_dead) = run(classified, "http", 99).await;
    assert_eq!((seen, is_dead), (lines("http", 1), true));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_times_out_has_failed() {
    let impatient = |rig: &Rig| {
        let builder = rig.builder().handler_timeout(Duration::from_secs(10));
        builder.endpoint(Fails::default()).build().unwrap()
    };
    let (seen, took, is_dead) = run(impatient, "hangs", 1).await;
    assert_eq!((seen, is_dead), (lines("hangs", 2), false));
    assert!((10.5..=11.0).contains(&took.as_secs_f64()), "{took:?}");
    let (seen, _, is_dead) = run(impatient, "hangs", 99).await;
    assert_eq!((seen, is_dead), (lines("hangs", 5), true));
}

#[tokio::test(start_paused = true)]
async fn retries_can_be_held_in_the_process() {
    let in_process = |rig: &Rig| {
        let retry = RetryOptions::default().storage(RetryStorage::Process);
        rig.builder().retry(retry).endpoint(Fails::default()).build().unwrap()
    };
    let (seen, _, is_dead) = run(in_process, "error", 2).await;
    assert_eq!((seen, is_dead), (lines("error", 3), false));
    let (seen, _, is_dead) = run(in_process, "error", 99).await;
    assert_eq!((seen, is_dead), (lines("error", 5), true));
}

#[tokio::test(start_paused = true)]
async fn on_failure_forget_is_what_oslo_messaging_does_without_requeue() {
    let forgets = |rig: &Rig| {
        let builder = rig.builder().on_failure(OnFailure::Discard);
        builder.endpoint(Fails::default()).build().unwrap()
    };
    let (seen, _, is_dead) = run(forgets, "error", 99).await;
    assert_eq!((seen, is_dead), (lines("error", 1), false));
}

#[tokio::test(start_paused = true)]
async fn on_failure_requeue_is_what_oslo_messaging_does_with_requeue() {
    let requeues = |rig: &Rig| {
        let builder = rig.builder().on_failure(OnFailure::Requeue);
        builder.endpoint(Fails::default()).build().unwrap()
    };
    let (seen, took, is_dead) = run(requeues, "error", 20).await;
    assert_eq!((seen, is_dead), (vec!["error 1".to_owned(); 21], false));
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn on_failure_requeue_skips_the_remaining_methods() {
    let mut rig = Rig::new();
    let builder = rig.builder().on_failure(OnFailure::Requeue);
    let listener = builder.endpoint(Fails::default()).endpoint(Handles).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "error", &2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    finish(&listener).await;
    let well = "well openstack notifications.info";
    assert_eq!(rig.seen_so_far(), ["error 1", "error 1", "error 1", well]);
}

/// Two endpoints that fail at different paces, and one that handles.
struct Slow;

#[notification_endpoint(
    register = false,
    order = 1,
    retry(attempts = 2, delay = "1h", max_delay = "2h")
)]
impl Slow {
    async fn info(&self, log: State<Log>) -> Result<(), &'static str> {
        let _ = log.send("slow".to_owned());
        Err("slow")
    }
}

struct Quick;

#[notification_endpoint(register = false, order = 2, retry(attempts = 3, delay = "10ms"))]
impl Quick {
    async fn info(&self, log: State<Log>) -> Result<(), &'static str> {
        let _ = log.send("quick".to_owned());
        Err("quick")
    }
}

struct Handles;

#[notification_endpoint(register = false, order = 3)]
impl Handles {
    async fn info(&self, info: &DeliveryInfo, log: State<Log>) {
        let _ = log.send(format!("well {} {}", info.exchange, info.routing_key));
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_retries_and_gives_up_independently() {
    let mut rig = Rig::new();
    let builder = rig.builder().endpoint(Slow).endpoint(Quick).endpoint(Handles);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
    let first = rig.dead_letter().await;
    let seen = ["slow", "quick", "well openstack notifications.info", "quick", "quick"];
    assert_eq!(rig.seen_so_far(), seen);
    assert_eq!(
        (first.reason.as_str(), first.methods.as_str(), first.error.as_str()),
        ("error", "flow::retry::Quick::info", "flow::retry::Quick::info: quick")
    );
    let second = rig.dead_letter().await;
    assert_eq!(rig.seen_so_far(), ["slow"]);
    assert_eq!(second.methods, "flow::retry::Slow::info");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_states_its_attempts_and_the_time_of_the_first() {
    let rig = Rig::new();
    let listener = plain(&rig);
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "error", &99).await.unwrap();
    let dead_letter = rig.take("notifications.info.dead").await;
    finish(&listener).await;
    let headers = dead_letter.properties.headers;
    assert_eq!(headers.get("listener-attempts"), Some(&HeaderValue::Int64(5)));
    assert_eq!(headers.get_str("listener-queue"), Some("notifications.info"));
    assert_eq!(headers.get_str("listener-exchange"), Some("openstack"));
    assert_eq!(headers.get_str("listener-routing-key"), Some("notifications.info"));
    let time = |name| match headers.get(name) {
        Some(HeaderValue::Timestamp(seconds)) => *seconds,
        other => panic!("{name} is {other:?}"),
    };
    assert!(time("listener-first-time") <= time("listener-time"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_pool_goes_only_to_that_pool() {
    let mut rig = Rig::new();
    let builder = rig.builder().pool("billing").endpoint(Fails::default()).endpoint(Handles);
    let listener = builder.build().unwrap();
    let other = rig.builder().endpoint(Handles).build().unwrap();
    listener.start().await.unwrap();
    other.start().await.unwrap();
    rig.notifier().info(&Context::new(), "error", &1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    finish(&listener).await;
    finish(&other).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    let well = "well openstack notifications.info";
    assert_eq!(seen, ["error 1", "error 2", well, well]);
}
