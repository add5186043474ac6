//! Code of the program other than its methods hangs, panics or fails: inbox, observers, classifier,
//! serializer, `Display` of an error, `init`. It costs a delivery at most a retry or a dead letter,
//! other methods are not called again, and the listener keeps running.

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
use listener::options::{OnFailure, RetryOptions, RetryStorage};
use listener::testing::Model;
use listener::{
    BoxError, Context, ErrorKind, Inbox, InboxEntry, Listener, Serializer, State, Transport,
    notification_endpoint,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::rig::{DeadLetter, Log, Rig, finish};

/// How the code of the program fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Hangs,
    Panics,
    /// Returns an error.
    Fails,
    /// Returns an error whose `Display` panics.
    Unprintable,
}

/// An error whose `Display` panics.
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

/// Handles everything, first.
struct Handles;

#[notification_endpoint(register = false, name = "well", order = 1)]
impl Handles {
    async fn info(&self, payload: Value, log: State<Log>) {
        let _ = log.send(format!("well {payload}"));
    }
}

/// Fails for the payload 0.
struct Failing;

#[notification_endpoint(register = false, name = "failing", order = 2)]
impl Failing {
    async fn info(&self, payload: Value, log: State<Log>) -> Result<(), Unprintable> {
        let _ = log.send(format!("failing {payload}"));
        if payload == 0 { Err(Unprintable) } else { Ok(()) }
    }
}

/// An inbox whose first calls for one method fail.
struct FaultyInbox {
    contains: Option<Fault>,
    insert: Option<Fault>,
    left: AtomicU32,
}

impl FaultyInbox {
    fn fault(&self, fault: Option<Fault>, entry: InboxEntry<'_>) -> Option<Fault> {
        let fault = fault.filter(|_| entry.method == "failing::info")?;
        let take = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok().then_some(fault)
    }
}

impl Inbox for FaultyInbox {
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
    builder.endpoint(Handles).endpoint(Failing)
}

/// Runs one notification with this payload to its end, and returns the calls and the dead letter, if
/// any.
async fn run(rig: &mut Rig, listener: Listener, payload: u32) -> (Vec<String>, Option<DeadLetter>) {
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(listener.is_ready());
    assert_eq!(listener.health().queues[0].in_flight, 0);
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    // A marker shows whether there is one: messages come out in order.
    rig.put("notifications.info.dead", "marker").await;
    let dead_letter = rig.dead_letter().await;
    (rig.seen_so_far(), (dead_letter.body != "marker").then_some(dead_letter))
}

const ALL_FAULTS: [Fault; 4] = [Fault::Hangs, Fault::Panics, Fault::Fails, Fault::Unprintable];

#[tokio::test(start_paused = true)]
async fn a_failing_inbox_lookup_is_a_failure_of_the_method() {
    for fault in ALL_FAULTS {
        let mut rig = Rig::new();
        let inbox = FaultyInbox { contains: Some(fault), insert: None, left: AtomicU32::new(2) };
        let listener = builder(&rig).inbox(inbox).build().unwrap();
        let (seen, dead_letter) = run(&mut rig, listener, 1).await;
        assert_eq!((seen, dead_letter), (lines(&["well 1", "failing 1"]), None), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_inbox_lookup_that_always_fails_ends_in_a_dead_letter_of_the_method() {
    for fault in ALL_FAULTS {
        let mut rig = Rig::new();
        let inbox = FaultyInbox { contains: Some(fault), insert: None, left: AtomicU32::new(99) };
        let listener = builder(&rig).inbox(inbox).build().unwrap();
        let (seen, dead_letter) = run(&mut rig, listener, 1).await;
        let dead_letter = dead_letter.expect("a dead letter");
        assert_eq!(seen, lines(&["well 1"]), "{fault:?}");
        assert_eq!(
            (dead_letter.reason.as_str(), dead_letter.methods.as_str()),
            ("error", "failing::info")
        );
        assert!(dead_letter.error.contains("inbox"), "{}", dead_letter.error);
    }
}

#[derive(Debug)]
struct NoConnection(std::io::Error);

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection")
    }
}

impl std::error::Error for NoConnection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// An inbox that cannot be read, with an error that has a cause.
struct Unreadable;

impl Inbox for Unreadable {
    fn contains<'a>(&'a self, _: InboxEntry<'a>) -> BoxFuture<'a, Result<bool, BoxError>> {
        ready(Err(NoConnection(std::io::Error::other("refused")).into())).boxed()
    }

    fn insert<'a>(&'a self, _: InboxEntry<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        ready(Ok(())).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_an_inbox_is_reported_with_its_causes() {
    let mut rig = Rig::new();
    let listener = builder(&rig).inbox(Unreadable).build().unwrap();
    let (_, dead_letter) = run(&mut rig, listener, 1).await;
    let error = dead_letter.expect("a dead letter").error;
    assert!(error.contains("no connection: refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_inbox_lookup_is_retried_with_any_on_failure() {
    for on_failure in [OnFailure::Discard, OnFailure::Requeue] {
        let mut rig = Rig::new();
        let inbox =
            FaultyInbox { contains: Some(Fault::Fails), insert: None, left: AtomicU32::new(2) };
        let listener = builder(&rig).on_failure(on_failure).inbox(inbox).build().unwrap();
        let (seen, dead_letter) = run(&mut rig, listener, 1).await;
        assert_eq!((seen, dead_letter), (lines(&["well 1", "failing 1"]), None), "{on_failure:?}");
        let inbox =
            FaultyInbox { contains: Some(Fault::Fails), insert: None, left: AtomicU32::new(99) };
        let listener = builder(&rig).on_failure(on_failure).inbox(inbox).build().unwrap();
        let (seen, dead_letter) = run(&mut rig, listener, 1).await;
        let methods = dead_letter.map(|dead_letter| dead_letter.methods);
        assert_eq!((seen, methods.as_deref()), (lines(&["well 1"]), Some("failing::info")));
    }
}

/// Panics when it is dropped.
struct PanicsAtDrop;

impl Drop for PanicsAtDrop {
    fn drop(&mut self) {
        panic!("dropped before it was done")
    }
}

/// Times out, and panics when it is dropped then.
struct TimesOut;

#[notification_endpoint(register = false, name = "times-out", order = 3)]
impl TimesOut {
    async fn info(&self) {
        let _panics = PanicsAtDrop;
        pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_that_panics_when_dropped_has_timed_out() {
    let mut rig = Rig::new();
    let listener = builder(&rig).endpoint(TimesOut).build().unwrap();
    let (seen, dead_letter) = run(&mut rig, listener, 1).await;
    assert_eq!(seen, lines(&["well 1", "failing 1"]));
    let dead_letter = dead_letter.expect("a dead letter");
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.methods.as_str()),
        ("timeout", "times-out::info")
    );
}

/// An inbox whose lookup for one method hangs, and panics when it is dropped.
struct PanicsWhenDropped;

impl Inbox for PanicsWhenDropped {
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
async fn an_inbox_lookup_that_panics_when_dropped_is_a_failure_of_the_method() {
    let mut rig = Rig::new();
    let listener = builder(&rig).inbox(PanicsWhenDropped).build().unwrap();
    let (seen, dead_letter) = run(&mut rig, listener, 1).await;
    assert_eq!(seen, lines(&["well 1"]));
    let dead_letter = dead_letter.expect("a dead letter");
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.methods.as_str()),
        ("error", "failing::info")
    );
    assert!(dead_letter.error.contains("was not done within 10s"), "{}", dead_letter.error);
}

#[tokio::test(start_paused = true)]
async fn an_inbox_lookup_that_panics_at_a_stop_is_not_a_failure() {
    let rig = Rig::new();
    let listener = builder(&rig).inbox(PanicsWhenDropped).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    finish(&listener).await;
    let left = rig.take("notifications.info").await;
    let headers = &left.properties.headers;
    let pending = vec![HeaderValue::Text("failing::info".to_owned())];
    assert_eq!(headers.get("listener-methods"), Some(&HeaderValue::Array(pending)));
    assert_eq!(headers.get("listener-attempts"), None, "it was not called");
}

#[tokio::test(start_paused = true)]
async fn a_failing_inbox_insert_has_no_other_effect() {
    for fault in ALL_FAULTS {
        let mut rig = Rig::new();
        let inbox = FaultyInbox { contains: None, insert: Some(fault), left: AtomicU32::new(99) };
        let listener = builder(&rig).inbox(inbox).build().unwrap();
        let (seen, dead_letter) = run(&mut rig, listener, 1).await;
        assert_eq!((seen, dead_letter), (lines(&["well 1", "failing 1"]), None), "{fault:?}");
    }
}

/// The first insert hangs, and the broker redelivers the delivery.
#[tokio::test(start_paused = true)]
async fn a_hanging_inbox_insert_delays_nothing_after_its_session_ended() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    let inbox = FaultyInbox { contains: None, insert: Some(Fault::Hangs), left: AtomicU32::new(1) };
    let builder = rig.builder().endpoint(Handles).endpoint(Failing).inbox(inbox);
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
async fn a_stop_does_not_wait_for_a_hanging_inbox() {
    let mut rig = Rig::new();
    let inbox =
        FaultyInbox { contains: Some(Fault::Hangs), insert: None, left: AtomicU32::new(99) };
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
async fn a_panicking_observer_has_no_effect() {
    let mut rig = Rig::new();
    let counts = [Arc::default(), Arc::default()];
    let observer = |index: usize| Panicking(Arc::clone(&counts[index]));
    let builder = builder(&rig).observer(observer(0)).observer(observer(1));
    let listener = builder.build().unwrap();
    let (seen, dead_letter) = run(&mut rig, listener, 1).await;
    assert_eq!((seen, dead_letter), (lines(&["well 1", "failing 1"]), None));
    // Attached, taken, acknowledged: both observers get all three.
    assert_eq!(counts.map(|counts| counts.load(Ordering::SeqCst)), [3, 3]);
}

/// A panic payload that panics when it is dropped, with another one of its kind.
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
async fn a_panic_payload_may_panic_when_dropped() {
    let mut rig = Rig::new();
    let builder = rig.builder().observer(Bombs).endpoint(Handles).endpoint(Bombs).endpoint(Blocks);
    let builder = builder.classify(|_: &Unprintable| -> ErrorKind { std::panic::panic_any(Bomb) });
    let retry = RetryOptions::default().attempts(1);
    let listener = builder.endpoint(Failing).retry(retry).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..3 {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    for _ in 0..3 {
        let dead_letter = rig.dead_letter().await;
        assert!(dead_letter.methods.contains("bombs::info, blocks::info"), "{dead_letter:?}");
    }
    let seen = rig.seen_so_far();
    assert_eq!(seen.iter().filter(|line| line.starts_with("well")).count(), 3, "{seen:?}");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_classifier_does_not_change_the_kind_of_an_error() {
    let mut rig = Rig::new();
    let builder = builder(&rig);
    let listener =
        builder.classify(|_: &Unprintable| -> ErrorKind { panic!("no kind") }).build().unwrap();
    let (seen, dead_letter) = run(&mut rig, listener, 0).await;
    assert_eq!(seen[0], "well 0");
    assert_eq!(seen[1..], ["failing 0"; 5], "as often as any failure, and the other method once");
    let dead_letter = dead_letter.expect("a dead letter");
    assert_eq!(
        (dead_letter.reason.as_str(), dead_letter.methods.as_str()),
        ("error", "failing::info")
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_display_panics_is_retried_like_any_other() {
    for place in [RetryStorage::Broker, RetryStorage::Process] {
        let mut rig = Rig::new();
        let retry = RetryOptions::default().storage(place);
        let listener = builder(&rig).retry(retry).build().unwrap();
        let (seen, dead_letter) = run(&mut rig, listener, 0).await;
        assert_eq!(seen[0], "well 0");
        assert_eq!(seen[1..], ["failing 0"; 5]);
        let dead_letter = dead_letter.expect("a dead letter");
        assert_eq!(
            (dead_letter.reason.as_str(), dead_letter.methods.as_str()),
            ("error", "failing::info")
        );
        assert!(dead_letter.error.contains("no text"), "{}", dead_letter.error);
    }
}

/// A serializer whose first calls fail.
struct FaultyInput {
    fault: Fault,
    left: AtomicU32,
}

impl Serializer for FaultyInput {
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
async fn a_panicking_serializer_is_retried() {
    let mut rig = Rig::new();
    let serializer = FaultyInput { fault: Fault::Panics, left: AtomicU32::new(2) };
    let listener = builder(&rig).serializer(serializer).build().unwrap();
    let (seen, dead_letter) = run(&mut rig, listener, 1).await;
    assert_eq!((seen, dead_letter), (lines(&["well 1", "failing 1"]), None));
}

#[tokio::test(start_paused = true)]
async fn a_failing_serializer_ends_in_a_dead_letter_for_the_pending_methods() {
    for (fault, reason) in [
        (Fault::Panics, "panic"),
        (Fault::Fails, "undecodable"),
        (Fault::Unprintable, "undecodable"),
    ] {
        let mut rig = Rig::new();
        // The first delivery is read and fails in one method; the retry is for that one only.
        let serializer = Arc::new(AtomicU32::new(0));
        let listener =
            builder(&rig).serializer(FailsLater { fault, calls: serializer }).build().unwrap();
        let (seen, dead_letter) = run(&mut rig, listener, 0).await;
        assert_eq!(seen, lines(&["well 0", "failing 0"]), "{fault:?}");
        let dead_letter = dead_letter.expect("a dead letter");
        let found = (dead_letter.reason.as_str(), dead_letter.methods.as_str());
        assert_eq!(found, (reason, "failing::info"), "{fault:?}");
    }
}

/// A serializer that fails from its second call on.
struct FailsLater {
    fault: Fault,
    calls: Arc<AtomicU32>,
}

impl Serializer for FailsLater {
    fn deserialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        let left = u32::from(self.calls.fetch_add(1, Ordering::SeqCst) > 0);
        FaultyInput { fault: self.fault, left: AtomicU32::new(left) }
            .deserialize_payload(context, payload)
    }
}

struct InitHangs;

async fn hangs() -> InitHangs {
    pending().await
}

async fn panics() -> InitHangs {
    panic!("no luck")
}

fn panics_at_once() -> InitHangs {
    panic!("no luck")
}

#[notification_endpoint(init = hangs, group = "init-hangs")]
impl InitHangs {
    async fn info(&self) {}
}

struct InitPanics;

#[notification_endpoint(init = panics_later, group = "init-panics")]
impl InitPanics {
    async fn info(&self) {}
}

async fn panics_later() -> InitPanics {
    panics().await;
    InitPanics
}

struct InitPanicsAtOnce;

#[notification_endpoint(init = panics_now, group = "init-panics-at-once")]
impl InitPanicsAtOnce {
    async fn info(&self) {}
}

fn panics_now() -> InitPanicsAtOnce {
    panics_at_once();
    InitPanicsAtOnce
}

#[tokio::test(start_paused = true)]
async fn an_init_that_hangs_or_panics_fails_the_start() {
    for (group, expected) in [
        ("init-hangs", "was not done within 30s"),
        ("init-panics", "panicked: no luck"),
        ("init-panics-at-once", "panicked: no luck"),
    ] {
        let rig = Rig::new();
        let listener = rig.builder().group(group).build().unwrap();
        let error = format!("{:?}", listener.start().await.expect_err("no instance"));
        assert!(error.contains("its `init` failed") && error.ends_with(expected), "{error}");
    }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}
