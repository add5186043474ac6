//! Copies that are confirmed late or not at all, also across stops of the listener: nothing is
//! multiplied, and no method waits for the copy of another method.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use listener::driver::Route;
use listener::driver::SendError;
use listener::driver::{HeaderValue, Headers, Properties};
use listener::observe::{Event, Observer};
use listener::options::{Executor, RetryOptions, RetryStorage};
use listener::testing::{Conditions, Model};
use listener::{
    Attempt, BoxError, Context, OrderKey, Outcome, State, Transport, notification_endpoint,
    permanent, retry_after,
};

use crate::rig::{Log, Rig, finish};
use crate::sending::sending;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn rig() -> (Model, Rig) {
    let model = Model::new(3);
    let rig = Rig::on(Transport::new(model.process(), "model"));
    (model, rig)
}

async fn send(rig: &Rig) {
    rig.notifier().info(&Context::new(), "x", &"a").await.unwrap();
}

struct AlwaysFails(Arc<AtomicU32>);

#[notification_endpoint(register = false)]
impl AlwaysFails {
    async fn info(&self) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err("always")?
    }
}

#[tokio::test(start_paused = true)]
async fn late_confirms_of_copies_count() {
    let (model, rig) = rig();
    let calls = Arc::new(AtomicU32::new(0));
    let listener = rig.builder().endpoint(AlwaysFails(Arc::clone(&calls))).build().unwrap();
    listener.start().await.unwrap();
    send(&rig).await;
    model.change(|conditions| conditions.latency = 60 * SECOND);
    tokio::time::sleep(4 * HOUR).await;
    model.change(|conditions| *conditions = Conditions::default());
    tokio::time::sleep(HOUR).await;
    // Only the first copy is sent twice.
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls <= 9, "{calls} calls for one notification, {:?}", model.depths());
    finish(&listener).await;
}

/// Gives up at once.
struct GivesUp;

#[notification_endpoint(register = false, order = 1)]
impl GivesUp {
    async fn info(&self) -> Result<(), BoxError> {
        Err(permanent("no"))?
    }
}

/// Fails at its first call.
struct FailsOnce;

#[notification_endpoint(register = false, order = 2)]
impl FailsOnce {
    async fn info(&self, attempt: Attempt, log: State<Log>) -> Result<(), BoxError> {
        let _ = log.send(format!("call {}", attempt.0));
        if attempt.0 == 1 { Err("once")? } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_wait_for_the_dead_letter_of_another_method() {
    for place in [RetryStorage::Broker, RetryStorage::Process] {
        let (model, mut rig) = rig();
        model.change(|conditions| conditions.dead_letters_full = true);
        let retry = RetryOptions::default().storage(place);
        let builder = rig.builder().retry(retry).endpoint(GivesUp).endpoint(FailsOnce);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        send(&rig).await;
        tokio::time::sleep(HOUR).await;
        assert_eq!(rig.seen_so_far(), ["call 1", "call 2"], "{place:?}");
        model.change(|conditions| *conditions = Conditions::default());
        tokio::time::sleep(60 * SECOND).await;
        finish(&listener).await;
        let depths: Vec<_> = model.depths().into_iter().filter(|(_, depth)| *depth > 0).collect();
        assert_eq!(depths, [("notifications.info.dead".to_owned(), 1)], "{place:?}");
    }
}

/// Asks for a retry after ten minutes, every time.
struct AsksForTenMinutes;

#[notification_endpoint(register = false, order = 2)]
impl AsksForTenMinutes {
    async fn info(&self) -> Result<(), BoxError> {
        Err(retry_after("later", 600 * SECOND))?
    }
}

#[tokio::test(start_paused = true)]
async fn orderly_stops_make_no_second_dead_letter() {
    for is_ordered in [false, true] {
        let (model, rig) = rig();
        send(&rig).await;
        let start = async || {
            let builder = match is_ordered {
                true => rig.builder().ordered_by(OrderKey::EventType),
                false => rig.builder().retry(in_process()),
            };
            let builder = builder.endpoint(GivesUp).endpoint(AsksForTenMinutes);
            let listener = builder.build().unwrap();
            listener.start().await.unwrap();
            listener
        };
        for _ in 0..5 {
            let listener = start().await;
            tokio::time::sleep(20 * SECOND).await;
            finish(&listener).await;
        }
        let listener = start().await;
        tokio::time::sleep(2 * HOUR).await;
        finish(&listener).await;
        let depth = model.depths()["notifications.info.dead"];
        let dead_letters = [rig.dead_letter().await.methods, rig.dead_letter().await.methods];
        assert_eq!(
            (depth, dead_letters[0] != dead_letters[1]),
            (2, true),
            "{is_ordered} {dead_letters:?}"
        );
    }
}

/// Handles everything.
struct Handles(Arc<AtomicU32>);

#[notification_endpoint(register = false, order = 3)]
impl Handles {
    async fn info(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_longer_than_hold_while_dead_letter_queues_are_full() {
    for place in [RetryStorage::Broker, RetryStorage::Process] {
        let (model, rig) = rig();
        model.change(|conditions| conditions.dead_letters_full = true);
        let retry = RetryOptions::default().storage(place);
        let calls = Arc::new(AtomicU32::new(0));
        let builder = rig.builder().retry(retry.clone()).endpoint(GivesUp);
        let builder = builder.endpoint(FailsOnce).endpoint(Handles(Arc::clone(&calls)));
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        for _ in 0..5 {
            send(&rig).await;
            tokio::time::sleep(10 * SECOND).await;
        }
        for _ in 0..12 * 6 {
            tokio::time::sleep(600 * SECOND).await;
            let held = listener.health().queues[0].oldest_age;
            assert!(held.is_none_or(|held| held <= retry.hold + 60 * SECOND), "{held:?}");
        }
        assert_eq!(calls.load(Ordering::SeqCst), 5, "{place:?}");
        model.change(|conditions| *conditions = Conditions::default());
        tokio::time::sleep(HOUR).await;
        finish(&listener).await;
        let left: Vec<_> = model.depths().into_iter().filter(|(_, depth)| *depth > 0).collect();
        assert_eq!(left, [("notifications.info.dead".to_owned(), 5)], "{place:?}");
    }
}

/// A broker that confirms no dead letter: each attempt runs into its timeout.
fn no_dead_letters(below: &Transport) -> Transport {
    sending(below, |below, outgoing| async move {
        match &outgoing.route {
            Route::Queue(queue) if queue.ends_with(".dead") => {
                let (route, after) = (outgoing.route.to_string(), outgoing.timeout);
                tokio::time::sleep(after).await;
                Err(SendError::TimedOut { route, after, last: None })
            }
            _ => below.send(outgoing).await,
        }
    })
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_longer_than_hold_while_dead_letters_are_unconfirmed() {
    let (_model, rig) = rig();
    let transport = no_dead_letters(&rig.transport);
    let calls = Arc::new(AtomicU32::new(0));
    let builder = rig.builder_on(transport).endpoint(GivesUp);
    let listener = builder.endpoint(Handles(Arc::clone(&calls))).build().unwrap();
    listener.start().await.unwrap();
    send(&rig).await;
    let hold = RetryOptions::default().hold;
    for _ in 0..6 * 60 {
        tokio::time::sleep(60 * SECOND).await;
        let held = listener.health().queues[0].oldest_age;
        assert!(held.is_none_or(|held| held <= hold + 60 * SECOND), "{held:?}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    listener.stop().await;
    listener.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_ordered_delivery_keeps_its_position_while_dead_letter_queues_are_full() {
    let (model, rig) = rig();
    model.change(|conditions| conditions.dead_letters_full = true);
    let calls = Arc::new(AtomicU32::new(0));
    let builder = rig.builder().ordered_by(OrderKey::EventType).endpoint(GivesUp);
    let listener = builder.endpoint(Handles(Arc::clone(&calls))).build().unwrap();
    listener.start().await.unwrap();
    send(&rig).await;
    tokio::time::sleep(2 * HOUR).await;
    assert!(listener.health().queues[0].oldest_age.is_some_and(|held| held >= 2 * HOUR));
    model.change(|conditions| *conditions = Conditions::default());
    tokio::time::sleep(60 * SECOND).await;
    finish(&listener).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let left: Vec<_> = model.depths().into_iter().filter(|(_, depth)| *depth > 0).collect();
    assert_eq!(left, [("notifications.info.dead".to_owned(), 1)]);
}

fn in_process() -> RetryOptions {
    RetryOptions::default().storage(RetryStorage::Process)
}

/// Asks once for a longer delay than may be held in the process.
struct AsksOnce(Arc<AtomicU32>);

#[notification_endpoint(register = false, order = 1)]
impl AsksOnce {
    async fn info(&self, attempt: Attempt) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        if attempt.0 == 1 { Err(retry_after("later", 1200 * SECOND))? } else { Ok(()) }
    }
}

/// Fails once, then requeues the delivery for a while.
struct Requeues(AtomicU32);

#[notification_endpoint(register = false, order = 2)]
impl Requeues {
    async fn info(&self, attempt: Attempt) -> Result<Outcome, BoxError> {
        let calls = self.0.fetch_add(1, Ordering::SeqCst);
        match attempt.0 {
            1 => Err("once")?,
            _ if calls < 20 => Ok(Outcome::Requeue),
            _ => Ok(Outcome::Handled),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_requeue_does_not_multiply_copies() {
    let (model, rig) = rig();
    send(&rig).await;
    let calls = Arc::new(AtomicU32::new(0));
    let builder = rig.builder().allow_requeue(true).retry(in_process());
    let builder = builder.endpoint(AsksOnce(Arc::clone(&calls)));
    let listener = builder.endpoint(Requeues(AtomicU32::new(0))).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(120 * SECOND).await;
    let before = calls.load(Ordering::SeqCst);
    tokio::time::sleep(HOUR).await;
    let after = calls.load(Ordering::SeqCst);
    assert_eq!(after - before, 1, "{before} calls, then {after}: {:?}", model.depths());
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_dead_letter_cannot_be_sent_makes_no_second_retry() {
    let (model, rig) = rig();
    model.change(|conditions| conditions.dead_letters_full = true);
    send(&rig).await;
    for _ in 0..5 {
        let builder = rig.builder().endpoint(GivesUp).endpoint(AsksForTenMinutes);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(20 * SECOND).await;
        finish(&listener).await;
    }
    let left: usize = model.depths().into_values().sum();
    assert_eq!(left, 2, "one for each method: {:?}", model.depths());
}

/// A broker that accepts no dead letter and no delay of 20 minutes, and everything else.
fn picky(below: &Transport) -> Transport {
    sending(below, |below, outgoing| async move {
        let route = outgoing.route.to_string();
        match &outgoing.route {
            Route::Queue(queue) if queue.ends_with(".dead") => {
                let size = outgoing.body.len();
                Err(SendError::TooLarge { route, size, limit: size - 1 })
            }
            Route::Delayed { delay, .. } if *delay == 1200 * SECOND => {
                Err(SendError::Refused { route })
            }
            _ => below.send(outgoing).await,
        }
    })
}

/// Asks for a longer delay than may be held in the process, one that the broker accepts.
struct AsksForLonger;

#[notification_endpoint(register = false, order = 3)]
impl AsksForLonger {
    async fn info(&self) -> Result<(), BoxError> {
        Err(retry_after("later", 1300 * SECOND))?
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_replaces_a_delivery_names_all_pending_methods() {
    for place in [RetryStorage::Broker, RetryStorage::Process] {
        let rig = Rig::new();
        let transport = picky(&rig.transport);
        let retry = RetryOptions::default().storage(place);
        let builder = rig.builder_on(transport).retry(retry).endpoint(GivesUp);
        let builder = builder.endpoint(AsksOnce(Arc::default())).endpoint(AsksForLonger);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        send(&rig).await;
        // The dead letter is refused, and one retry is sent again and again.
        tokio::time::sleep(1000 * SECOND).await;
        finish(&listener).await;
        let left = rig.take("notifications.info").await;
        let names = ["flow::copies::AsksOnce::info", "flow::copies::GivesUp::info"];
        assert_eq!(pending(&left.properties), names, "{place:?}");
    }
}

fn pending(properties: &Properties) -> Vec<&str> {
    let Some(HeaderValue::Array(pending)) = properties.headers.get("listener-methods") else {
        panic!("{properties:?}")
    };
    let mut pending: Vec<_> = pending
        .iter()
        .map(|name| match name {
            HeaderValue::Text(name) => name.as_str(),
            other => panic!("{other:?} is not a name"),
        })
        .collect();
    pending.sort_unstable();
    pending
}

/// No method is called for these: nothing is added to the attempts, and nothing is taken from them.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_no_method_is_called_for_keeps_its_attempts_when_it_is_replaced() {
    for body in [r#"{"event_type":"x","payload":1}"#, "{"] {
        let rig = Rig::new();
        let transport = sending(&rig.transport, |below, outgoing| async move {
            match &outgoing.route {
                Route::Queue(queue) if queue.ends_with(".dead") => {
                    Err(SendError::Refused { route: outgoing.route.to_string() })
                }
                _ => below.send(outgoing).await,
            }
        });
        let builder = rig.builder_on(transport).pool("tap").endpoint(GivesUp);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        let mut headers = Headers::default();
        headers.insert("listener-attempts", HeaderValue::Int64(3));
        rig.put_with("tap", body.into(), Properties::default().headers(headers)).await;
        // The dead letter is refused for as long as it may be held, twice.
        tokio::time::sleep(2000 * SECOND).await;
        finish(&listener).await;
        let headers = rig.take("tap").await.properties.headers;
        assert_eq!(headers.get("listener-attempts"), Some(&HeaderValue::Int64(3)), "{body}");
    }
}

/// Gives up at once, like `GivesUp`.
struct AlsoGivesUp;

#[notification_endpoint(register = false, order = 1)]
impl AlsoGivesUp {
    async fn info(&self) -> Result<(), BoxError> {
        Err(permanent("no"))?
    }
}

/// Keeps its slot for longer than a stop waits.
struct KeepsItsSlot;

#[notification_endpoint(register = false)]
impl KeepsItsSlot {
    async fn warn(&self) {
        tokio::time::sleep(HOUR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_forgets_no_method_that_is_due_and_waits_for_a_slot() {
    let (model, rig) = rig();
    model.change(|conditions| conditions.dead_letters_full = true);
    let builder = rig.builder().executor(Executor::Concurrent(1)).endpoint(KeepsItsSlot);
    let builder = builder.endpoint(GivesUp).endpoint(AlsoGivesUp).endpoint(FailsOnce);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    // The dead letters of the first notification are sent again and again. For the second, both of those
    // methods are paused, and the broker delays a retry of the third method.
    send(&rig).await;
    tokio::time::sleep(60 * SECOND).await;
    send(&rig).await;
    tokio::time::sleep(60 * SECOND).await;
    rig.notifier().warn(&Context::new(), "x", &"a").await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    model.change(|conditions| conditions.dead_letters_full = false);
    tokio::time::sleep(60 * SECOND).await;
    finish(&listener).await;
    let left = rig.take("notifications.info").await;
    let names = ["flow::copies::AlsoGivesUp::info", "flow::copies::GivesUp::info"];
    assert_eq!(pending(&left.properties), names);
}

/// Has an order key, and asks for a retry in ten minutes.
struct Ordered;

#[notification_endpoint(register = false, order = 1, ordered_by = "payload.key")]
impl Ordered {
    async fn info(&self) -> Result<(), BoxError> {
        Err(retry_after("later", 600 * SECOND))?
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_ordered_by_one_method_keeps_its_position_when_others_fail() {
    let (_, rig) = rig();
    let calls = Arc::new(AtomicU32::new(0));
    let builder = rig.builder().endpoint(Ordered).endpoint(AlwaysFails(Arc::clone(&calls)));
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    for number in 1..=2 {
        let payload = serde_json::json!({"key": "same", "number": number});
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    }
    // By now the other method has failed more than once.
    tokio::time::sleep(60 * SECOND).await;
    assert!(calls.load(Ordering::SeqCst) > 1);
    finish(&listener).await;
    for number in 1..=2 {
        let left = rig.take("notifications.info").await;
        let body = String::from_utf8_lossy(&left.body).into_owned();
        assert!(body.contains(&format!(r#"\"number\": {number}"#)), "{number}: {body}");
    }
}

/// Fails at its first three calls.
struct FailsThrice;

#[notification_endpoint(register = false, order = 2)]
impl FailsThrice {
    async fn info(&self, attempt: Attempt) -> Result<(), BoxError> {
        if attempt.0 <= 3 { Err("not yet")? } else { Ok(()) }
    }
}

/// Records the reported retries: the first method, and its attempts.
#[derive(Clone, Default)]
struct Retries(Arc<Mutex<Vec<(String, u32)>>>);

impl Observer for Retries {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Retried { methods, attempts, .. } = event {
            self.0.lock().unwrap().push((methods[0].clone(), *attempts));
        }
    }
}

/// The first retry is too long for the process: its copy is made after the last call of the second.
#[tokio::test(start_paused = true)]
async fn a_retry_is_reported_with_the_attempts_of_its_own_method() {
    let (_model, rig) = rig();
    let retries = Retries::default();
    let builder = rig.builder().retry(in_process()).observer(retries.clone());
    let builder = builder.endpoint(AsksOnce(Arc::default())).endpoint(FailsThrice);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    send(&rig).await;
    tokio::time::sleep(HOUR).await;
    finish(&listener).await;
    let reported = |method: &str| -> Vec<u32> {
        let retries = retries.0.lock().unwrap();
        retries.iter().filter(|(name, _)| name.contains(method)).map(|(_, n)| *n).collect()
    };
    assert_eq!(reported("FailsThrice"), [1, 2, 3]);
    assert_eq!(reported("AsksOnce"), [1]);
}
