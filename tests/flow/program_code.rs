//! The program's own code beside its methods hangs, panics or fails: an inbox, observers, a
//! classifier, a serializer, an error's `Display`, `init`. Whatever it is, it costs a delivery at
//! most a retry or its dead letter, other methods are not called again for it, and the listener
//! goes on.

use std::fmt;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::ListenerBuilder;
use listener::driver::HeaderValue;
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::options::{OnFailure, RetryOptions, RetryPlace};
use listener::testing::Model;
use listener::{
    BoxError, Context, ErrorKind, Inbox, InboxEntry, Listener, Serializer, State, Transport,
    notification_endpoint,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::rig::{DeadLetter, Log, Rig, finish};

/// How the program's code does not do what it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Hangs,
    Panics,
    /// It gives an error.
    Fails,
    /// It gives an error that cannot be printed.
    Unprintable,
}

/// An error whose text panics.
#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text")
    }
}

impl std::error::Error for Unprintable {}

impl Fault {
    fn occurs<T: Send + 'static>(self) -> BoxFuture<'static, Result<T, BoxError>> {
        match self {
            Self::Hangs => pending().boxed(),
            Self::Panics => async { panic!("no luck") }.boxed(),
            Self::Fails => ready(Err("no database".into())).boxed(),
            Self::Unprintable => ready(Err(Unprintable.into())).boxed(),
        }
    }
}

/// Handles everything, and comes first.
struct Well;

#[notification_endpoint(register = false, name = "well", order = 1)]
impl Well {
    async fn info(&self, payload: Value, log: State<Log>) {
        let _ = log.send(format!("well {payload}"));
    }
}

/// Fails with an error of the program's at the payload 0.
struct Failing;

#[notification_endpoint(register = false, name = "failing", order = 2)]
impl Failing {
    async fn info(&self, payload: Value, log: State<Log>) -> Result<(), Unprintable> {
        let _ = log.send(format!("failing {payload}"));
        if payload == 0 { Err(Unprintable) } else { Ok(()) }
    }
}

/// An inbox that has a fault for the first calls of one method.
struct Faulty {
    contains: Option<Fault>,
    insert: Option<Fault>,
    left: AtomicU32,
}

impl Faulty {
    fn fault(&self, fault: Option<Fault>, entry: InboxEntry<'_>) -> Option<Fault> {
        let fault = fault.filter(|_| entry.method == "failing::info")?;
        let take = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok().then_some(fault)
    }
}

impl Inbox for Faulty {
    fn contains<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>> {
        match self.fault(self.contains, entry) {
            Some(fault) => fault.occurs(),
            None => ready(Ok(false)).boxed(),
        }
    }

    fn insert<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        match self.fault(self.insert, entry) {
            Some(fault) => fault.occurs(),
            None => ready(Ok(())).boxed(),
        }
    }
}

fn builder(rig: &Rig) -> ListenerBuilder {
    let builder = rig.builder().handler_timeout(Duration::from_secs(10));
    builder.endpoint(Well).endpoint(Failing)
}

/// Runs one notification with this payload to its end, and gives what was called, and the dead
/// letter if there is one.
async fn run(rig: &mut Rig, listener: Listener, payload: u32) -> (Vec<String>, Option<DeadLetter>) {
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(listener.is_ready());
    assert_eq!(listener.health().queues[0].in_flight, 0);
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    // A marker put behind tells whether there is one.
    rig.put("notifications.info.dead", "marker").await;
    let letter = rig.dead_letter().await;
    (rig.seen_so_far(), (letter.body != "marker").then_some(letter))
}

const EVERY: [Fault; 4] = [Fault::Hangs, Fault::Panics, Fault::Fails, Fault::Unprintable];

#[tokio::test(start_paused = true)]
async fn an_inbox_that_does_not_answer_is_a_failure_of_the_method() {
    for fault in EVERY {
        let mut rig = Rig::new();
        let inbox = Faulty { contains: Some(fault), insert: None, left: AtomicU32::new(2) };
        let listener = builder(&rig).inbox(inbox).build().unwrap();
        let (seen, letter) = run(&mut rig, listener, 1).await;
        assert_eq!((seen, letter), (lines(&["well 1", "failing 1"]), None), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_never_answers_ends_in_a_dead_letter_of_the_method() {
    for fault in EVERY {
        let mut rig = Rig::new();
        let inbox = Faulty { contains: Some(fault), insert: None, left: AtomicU32::new(99) };
        let listener = builder(&rig).inbox(inbox).build().unwrap();
        let (seen, letter) = run(&mut rig, listener, 1).await;
        let letter = letter.expect("a dead letter");
        assert_eq!(seen, lines(&["well 1"]), "{fault:?}");
        assert_eq!((letter.reason.as_str(), letter.endpoints.as_str()), ("error", "failing::info"));
        assert!(letter.error.contains("inbox"), "{}", letter.error);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_cannot_be_asked_is_retried_whatever_follows_a_failure() {
    for on_failure in [OnFailure::Forget, OnFailure::Requeue] {
        let mut rig = Rig::new();
        let inbox = Faulty { contains: Some(Fault::Fails), insert: None, left: AtomicU32::new(2) };
        let listener = builder(&rig).on_failure(on_failure).inbox(inbox).build().unwrap();
        let (seen, letter) = run(&mut rig, listener, 1).await;
        assert_eq!((seen, letter), (lines(&["well 1", "failing 1"]), None), "{on_failure:?}");
        let inbox = Faulty { contains: Some(Fault::Fails), insert: None, left: AtomicU32::new(99) };
        let listener = builder(&rig).on_failure(on_failure).inbox(inbox).build().unwrap();
        let (seen, letter) = run(&mut rig, listener, 1).await;
        let endpoints = letter.map(|letter| letter.endpoints);
        assert_eq!((seen, endpoints.as_deref()), (lines(&["well 1"]), Some("failing::info")));
    }
}

/// Panics when it is dropped.
struct PanicsAtDrop;

impl Drop for PanicsAtDrop {
    fn drop(&mut self) {
        panic!("dropped before it was done")
    }
}

/// Takes too long, and panics when it is dropped for that.
struct NotDone;

#[notification_endpoint(register = false, name = "not-done", order = 3)]
impl NotDone {
    async fn info(&self) {
        let _panics = PanicsAtDrop;
        pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_that_panics_when_it_is_dropped_has_timed_out() {
    let mut rig = Rig::new();
    let listener = builder(&rig).endpoint(NotDone).build().unwrap();
    let (seen, letter) = run(&mut rig, listener, 1).await;
    assert_eq!(seen, lines(&["well 1", "failing 1"]));
    let letter = letter.expect("a dead letter");
    assert_eq!((letter.reason.as_str(), letter.endpoints.as_str()), ("timeout", "not-done::info"));
}

/// An inbox that does not answer for one method, and panics when it is not waited for.
struct NotAsked;

impl Inbox for NotAsked {
    fn contains<'a>(&'a self, entry: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>> {
        async move {
            if entry.method == "failing::info" {
                let _panics = PanicsAtDrop;
                pending::<()>().await;
            }
            Ok(false)
        }
        .boxed()
    }

    fn insert<'a>(&'a self, _: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        ready(Ok(())).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_panics_when_it_is_dropped_is_a_failure_of_the_method() {
    let mut rig = Rig::new();
    let listener = builder(&rig).inbox(NotAsked).build().unwrap();
    let (seen, letter) = run(&mut rig, listener, 1).await;
    assert_eq!(seen, lines(&["well 1"]));
    let letter = letter.expect("a dead letter");
    assert_eq!((letter.reason.as_str(), letter.endpoints.as_str()), ("error", "failing::info"));
    assert!(letter.error.contains("was not done within 10s"), "{}", letter.error);
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_panics_when_the_listener_stops_is_no_failure() {
    let rig = Rig::new();
    let listener = builder(&rig).inbox(NotAsked).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    finish(&listener).await;
    let left = rig.take("notifications.info").await;
    let headers = &left.properties.headers;
    let owed = vec![HeaderValue::Text("failing::info".to_owned())];
    assert_eq!(headers.get("listener-endpoints"), Some(&HeaderValue::List(owed)));
    assert_eq!(headers.get("listener-attempts"), None, "it was not called");
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_does_not_remember_costs_nothing_else() {
    for fault in EVERY {
        let mut rig = Rig::new();
        let inbox = Faulty { contains: None, insert: Some(fault), left: AtomicU32::new(99) };
        let listener = builder(&rig).inbox(inbox).build().unwrap();
        let (seen, letter) = run(&mut rig, listener, 1).await;
        assert_eq!((seen, letter), (lines(&["well 1", "failing 1"]), None), "{fault:?}");
    }
}

/// The first insertion hangs, and the broker gives its delivery out again.
#[tokio::test(start_paused = true)]
async fn an_inbox_that_does_not_remember_holds_up_nobody_once_the_session_is_over() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    let inbox = Faulty { contains: None, insert: Some(Fault::Hangs), left: AtomicU32::new(1) };
    let builder = rig.builder().endpoint(Well).endpoint(Failing).inbox(inbox);
    let listener = builder.executor(Executor::Concurrent(1)).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    assert_eq!([rig.seen().await, rig.seen().await], ["well 1", "failing 1"]);
    model.lose_connections("a test");
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.notifier().info(&Context::new(), "x", &2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let seen = rig.seen_so_far();
    assert!(seen.contains(&"failing 2".to_owned()), "{seen:?}");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_hangs_is_not_waited_for_at_a_stop() {
    let mut rig = Rig::new();
    let inbox = Faulty { contains: Some(Fault::Hangs), insert: None, left: AtomicU32::new(99) };
    let listener =
        builder(&rig).handler_timeout(Duration::from_secs(3600)).inbox(inbox).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    listener.stop().await;
    listener.wait().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(rig.seen_so_far(), ["well 1"]);
    rig.take("notifications.info").await;
}

struct Panicking(Arc<AtomicU32>);

impl Observer for Panicking {
    fn observe(&self, event: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("an observer of {event:?}")
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_changes_nothing() {
    let mut rig = Rig::new();
    let told = [Arc::default(), Arc::default()];
    let observer = |index: usize| Panicking(Arc::clone(&told[index]));
    let builder = builder(&rig).observer(observer(0)).observer(observer(1));
    let listener = builder.build().unwrap();
    let (seen, letter) = run(&mut rig, listener, 1).await;
    assert_eq!((seen, letter), (lines(&["well 1", "failing 1"]), None));
    // Attached, taken, acknowledged: each of them is told, and each time.
    assert_eq!(told.map(|told| told.load(Ordering::SeqCst)), [3, 3]);
}

/// Panics with what panics in its turn when it is dropped, with the same again.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Self)
    }
}

struct Bombs;

impl Observer for Bombs {
    fn observe(&self, _: &Event<'_>) {
        std::panic::panic_any(Bomb)
    }
}

#[notification_endpoint(register = false, name = "bombs")]
impl Bombs {
    async fn info(&self) {
        std::panic::panic_any(Bomb)
    }
}

/// A plain `fn`.
struct Blocks;

#[notification_endpoint(register = false, name = "blocks")]
impl Blocks {
    fn info(&self) {
        std::panic::panic_any(Bomb)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_panic_brings_may_panic_when_it_is_dropped() {
    let mut rig = Rig::new();
    let builder = rig.builder().observer(Bombs).endpoint(Well).endpoint(Bombs).endpoint(Blocks);
    let builder = builder.classify(|_: &Unprintable| -> ErrorKind { std::panic::panic_any(Bomb) });
    let retry = RetryOptions::default().attempts(1);
    let listener = builder.endpoint(Failing).retry(retry).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..3 {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    for _ in 0..3 {
        let letter = rig.dead_letter().await;
        assert!(letter.endpoints.contains("bombs::info, blocks::info"), "{letter:?}");
    }
    let seen = rig.seen_so_far();
    assert_eq!(seen.iter().filter(|line| line.starts_with("well")).count(), 3, "{seen:?}");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_says_nothing_of_the_error() {
    let mut rig = Rig::new();
    let builder = builder(&rig);
    let listener =
        builder.classify(|_: &Unprintable| -> ErrorKind { panic!("no kind") }).build().unwrap();
    let (seen, letter) = run(&mut rig, listener, 0).await;
    assert_eq!(seen[0], "well 0");
    assert_eq!(seen[1..], ["failing 0"; 5], "as often as any failure, and well no more");
    let letter = letter.expect("a dead letter");
    assert_eq!((letter.reason.as_str(), letter.endpoints.as_str()), ("error", "failing::info"));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_be_printed_is_retried_as_any_other() {
    for place in [RetryPlace::Broker, RetryPlace::Process] {
        let mut rig = Rig::new();
        let retry = RetryOptions::default().place(place);
        let listener = builder(&rig).retry(retry).build().unwrap();
        let (seen, letter) = run(&mut rig, listener, 0).await;
        assert_eq!(seen[0], "well 0");
        assert_eq!(seen[1..], ["failing 0"; 5]);
        let letter = letter.expect("a dead letter");
        assert_eq!((letter.reason.as_str(), letter.endpoints.as_str()), ("error", "failing::info"));
        assert!(letter.error.contains("no text"), "{}", letter.error);
    }
}

/// A serializer that has a fault at its first calls.
struct Wire {
    fault: Fault,
    left: AtomicU32,
}

impl Serializer for Wire {
    fn deserialize_payload(&self, _: &Context, payload: Value) -> Result<Value, BoxError> {
        let take = |left: u32| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return Ok(payload);
        }
        match self.fault {
            Fault::Panics | Fault::Hangs => panic!("no luck"),
            Fault::Fails => Err("no key".into()),
            Fault::Unprintable => Err(Unprintable.into()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_serializer_that_panics_is_tried_again() {
    let mut rig = Rig::new();
    let wire = Wire { fault: Fault::Panics, left: AtomicU32::new(2) };
    let listener = builder(&rig).serializer(wire).build().unwrap();
    let (seen, letter) = run(&mut rig, listener, 1).await;
    assert_eq!((seen, letter), (lines(&["well 1", "failing 1"]), None));
}

#[tokio::test(start_paused = true)]
async fn a_serializer_that_fails_ends_in_a_dead_letter_for_those_still_owed() {
    for (fault, reason) in [
        (Fault::Panics, "panic"),
        (Fault::Fails, "undecodable"),
        (Fault::Unprintable, "undecodable"),
    ] {
        let mut rig = Rig::new();
        // The first is read, fails in one method, and comes again for that one only.
        let wire = Arc::new(AtomicU32::new(0));
        let listener = builder(&rig).serializer(Later { fault, calls: wire }).build().unwrap();
        let (seen, letter) = run(&mut rig, listener, 0).await;
        assert_eq!(seen, lines(&["well 0", "failing 0"]), "{fault:?}");
        let letter = letter.expect("a dead letter");
        let found = (letter.reason.as_str(), letter.endpoints.as_str());
        assert_eq!(found, (reason, "failing::info"), "{fault:?}");
    }
}

/// A serializer that has a fault from its second call on.
struct Later {
    fault: Fault,
    calls: Arc<AtomicU32>,
}

impl Serializer for Later {
    fn deserialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        let left = u32::from(self.calls.fetch_add(1, Ordering::SeqCst) > 0);
        Wire { fault: self.fault, left: AtomicU32::new(left) }.deserialize_payload(context, payload)
    }
}

struct Made;

async fn hangs() -> Made {
    pending().await
}

async fn panics() -> Made {
    panic!("no luck")
}

fn panics_at_once() -> Made {
    panic!("no luck")
}

#[notification_endpoint(init = hangs, group = "init-hangs")]
impl Made {
    async fn info(&self) {}
}

struct Second;

#[notification_endpoint(init = panics_later, group = "init-panics")]
impl Second {
    async fn info(&self) {}
}

async fn panics_later() -> Second {
    panics().await;
    Second
}

struct Third;

#[notification_endpoint(init = panics_now, group = "init-panics-at-once")]
impl Third {
    async fn info(&self) {}
}

fn panics_now() -> Third {
    panics_at_once();
    Third
}

#[tokio::test(start_paused = true)]
async fn an_init_that_hangs_or_panics_ends_the_start() {
    for (group, expected) in [
        ("init-hangs", "was not done within 30s"),
        ("init-panics", "panicked: no luck"),
        ("init-panics-at-once", "panicked: no luck"),
    ] {
        let rig = Rig::new();
        let listener = rig.builder().group(group).build().unwrap();
        let error = listener.start().await.expect_err("no instance").to_string();
        assert!(error.contains("its `init` failed") && error.ends_with(expected), "{error}");
    }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}
