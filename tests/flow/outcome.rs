//! Each outcome and each failure of a method, and several of them for one notification.

use std::sync::Mutex;
use std::time::Duration;

use listener::options::{RetryOptions, RetryStorage};
use listener::{Context, DeliveryInfo, Outcome, State, notification_endpoint};

use crate::rig::{Log, Rig, finish, once, run_once};

/// Returns the given outcomes, one for each call, and `Handled` after them.
struct Returns(Mutex<Vec<Outcome>>);

impl Returns {
    fn each(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut outcomes: Vec<_> = outcomes.into_iter().collect();
        outcomes.reverse();
        Self(Mutex::new(outcomes))
    }
}

#[notification_endpoint(register = false, order = 1)]
impl Returns {
    async fn info(&self, info: &DeliveryInfo, log: State<Log>) -> Outcome {
        let _ = log.send(format!("returns {}", info.redelivered));
        self.0.lock().unwrap().pop().unwrap_or(Outcome::Handled)
    }
}

#[derive(Default)]
struct After;

#[notification_endpoint(register = false, order = 2)]
impl After {
    async fn info(&self, log: State<Log>) {
        let _ = log.send("after".to_owned());
    }
}

#[derive(Default)]
struct Fails;

#[notification_endpoint(register = false, order = 1)]
impl Fails {
    #[on(info, event_type = "error")]
    async fn errs(&self) -> Result<(), &'static str> {
        Err("no price")
    }

    #[on(info, event_type = "panic")]
    async fn panics(&self) {
        panic!("no {}", "luck");
    }

    #[on(info, event_type = "plain")]
    fn panics_plainly(&self) {
        panic!("no luck either");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handled_notification_is_acknowledged() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Returns::each([])).endpoint(After).build().unwrap();
    run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["returns false", "after"]);
    rig.assert_empty("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_requeue_skips_the_remaining_methods_and_the_delivery_is_redelivered() {
    let mut rig = Rig::new();
    let returns = Returns::each([Outcome::Requeue]);
    let listener =
        rig.builder().allow_requeue(true).endpoint(returns).endpoint(After).build().unwrap();
    run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["returns false", "returns true", "after"]);
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_disallowed_requeue_is_a_dead_letter_with_a_fix() {
    let mut rig = Rig::new();
    let returns = Returns::each([Outcome::Requeue]);
    let listener = rig.builder().endpoint(returns).endpoint(After).build().unwrap();
    run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), ["returns false", "after"]);
    let dead_letter = rig.dead_letter().await;
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.error.as_str()),
        (
            "requeue-not-allowed",
            "flow::outcome::Returns::info: requested a requeue, which is not allowed; set `allow_requeue(true)` on the listener, or return `Outcome::Retry`"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_calls_only_its_method_again_after_the_pause() {
    let mut rig = Rig::new();
    let delay = Duration::from_secs(600);
    let returns = Returns::each([Outcome::retry_after(delay), Outcome::retry()]);
    let listener = rig.builder().endpoint(returns).endpoint(After).build().unwrap();
    listener.start().await.unwrap();
    let began = tokio::time::Instant::now();
    rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(rig.seen().await);
    }
    assert_eq!(seen, ["returns false", "after", "returns false", "returns false"]);
    // The requested delay, then a default one of 1 s to 2 s.
    let elapsed = began.elapsed().as_secs_f64();
    assert!((601.0..=602.1).contains(&elapsed), "{elapsed}");
    finish(&listener).await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_too_long_for_the_process_is_delayed_by_the_broker() {
    let mut rig = Rig::new();
    let delay = Duration::from_secs(3000);
    let returns = Returns::each([Outcome::retry_after(delay)]);
    let in_process = RetryOptions::default().storage(RetryStorage::Process);
    let listener = rig.builder().retry(in_process).endpoint(returns).build().unwrap();
    listener.start().await.unwrap();
    let began = tokio::time::Instant::now();
    rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
    assert_eq!([rig.seen().await, rig.seen().await], ["returns false", "returns false"]);
    assert_eq!(began.elapsed().as_secs(), 3000);
    finish(&listener).await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn exhausted_retries_end_in_a_dead_letter() {
    let mut rig = Rig::new();
    let returns = Returns::each(std::iter::repeat_n(Outcome::retry(), 9));
    let listener = rig.builder().endpoint(returns).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
    let dead_letter = rig.dead_letter().await;
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.error.as_str()),
        ("retries", "flow::outcome::Returns::info: requested a retry")
    );
    assert_eq!(rig.seen_so_far().len(), 5);
    finish(&listener).await;
}

async fn failure(event_type: &str) -> (String, String, Vec<String>) {
    let mut rig = Rig::new();
    let listener = rig.builder().retry(once()).endpoint(Fails).endpoint(After).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), event_type, &()).await.unwrap();
    let dead_letter = rig.dead_letter().await;
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    assert!(dead_letter.error.starts_with(&dead_letter.methods), "{dead_letter:?}");
    (dead_letter.reason, dead_letter.error, rig.seen_so_far())
}

#[tokio::test(start_paused = true)]
async fn an_error_is_a_dead_letter_and_other_methods_still_run() {
    assert_eq!(
        failure("error").await,
        (
            "error".to_owned(),
            "flow::outcome::Fails::errs: no price".to_owned(),
            vec!["after".to_owned()]
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_dead_letter_and_the_listener_keeps_running() {
    assert_eq!(
        failure("panic").await,
        (
            "panic".to_owned(),
            "flow::outcome::Fails::panics: panicked: no luck".to_owned(),
            vec!["after".to_owned()]
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_plain_fn_is_a_dead_letter() {
    assert_eq!(
        failure("plain").await.1,
        "flow::outcome::Fails::panics_plainly: panicked: no luck either"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_plain_fn_is_a_dead_letter_on_a_multi_threaded_runtime() {
    assert_eq!(
        failure("plain").await.1,
        "flow::outcome::Fails::panics_plainly: panicked: no luck either"
    );
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_no_method_wants_is_acknowledged() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Fails).build().unwrap();
    run_once(&listener, &rig.notifier()).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    rig.assert_empty("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}
