//! Suspects that are worked on one at a time, over all queues of a listener: one that only waits keeps
//! no other one from being worked on, and what the other one does is no evidence against it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::ListenerBuilder;
use listener::driver::{ConnectError, JournalError, SendError};
use listener::driver::{
    Driver, JournalAppend, JournalRead, Outgoing, Route, Subscribed, Subscription,
};
use listener::driver::{HeaderValue, Headers, Properties};
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::options::{RetryOptions, RetryPlace};
use listener::testing::{Limit, Model, Process};
use listener::{Attempt, Context, MemoryInbox, Outcome, State, Transport, notification_endpoint};
use tokio::sync::mpsc;

use crate::rig::{Log, Rig, finish};
use crate::sending::sending;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const QUEUES: [&str; 3] = ["error", "warn", "info"];

fn model() -> (Model, Rig) {
    let model = Model::new(1);
    let rig = Rig::on(Transport::new(model.process(), "model"));
    (model, rig)
}

fn quarantine(priority: &str) -> String {
    format!("notifications.{priority}.quarantine")
}

/// Puts a notification into the quarantine queue of a priority.
async fn put(rig: &Rig, priority: &str) {
    let body = format!(r#"{{"priority": "{priority}", "event_type": "x", "payload": 1}}"#);
    rig.put_with(&quarantine(priority), Bytes::from(body), Properties::default()).await;
}

/// Says for each call what follows, after a while in which it is the only one that is called.
struct Says {
    outcome: fn(u32) -> Outcome,
    beside: AtomicU32,
}

impl Says {
    fn new(outcome: fn(u32) -> Outcome) -> Self {
        Self { outcome, beside: AtomicU32::new(0) }
    }
}

impl Says {
    async fn say(&self, priority: &str, attempt: u32, log: &Log) -> Outcome {
        assert_eq!(self.beside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
        tokio::time::sleep(SECOND).await;
        self.beside.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(format!("{priority} {attempt}"));
        (self.outcome)(attempt)
    }
}

#[notification_endpoint(register = false, name = "says")]
impl Says {
    async fn error(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        self.say("error", attempt.0, &log).await
    }

    async fn warn(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        self.say("warn", attempt.0, &log).await
    }

    async fn info(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        self.say("info", attempt.0, &log).await
    }
}

fn sorted(mut seen: Vec<String>) -> Vec<String> {
    seen.sort();
    seen
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_dead_letter_holds_up_no_other_suspect() {
    let (model, mut rig) = model();
    model.change(|conditions| conditions.dead_letters_full = true);
    for priority in QUEUES {
        put(&rig, priority).await;
    }
    let says = Says::new(|_| Outcome::dead_letter("no"));
    let listener = rig.builder().endpoint(says).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert!(!listener.is_ready());
    assert_eq!(sorted(rig.seen_so_far()), ["error 1", "info 1", "warn 1"]);
    model.change(|conditions| conditions.dead_letters_full = false);
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    for priority in QUEUES {
        let letter = rig.take(&format!("notifications.{priority}.dead")).await;
        assert_eq!(letter.properties.headers.text("listener-reason"), Some("given-up"));
        rig.assert_empty(&quarantine(priority)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_retry_holds_up_no_other_suspect() {
    let (_model, mut rig) = model();
    for priority in QUEUES {
        put(&rig, priority).await;
    }
    let says = Says::new(|attempt| match attempt {
        1 => Outcome::retry_after(5 * MINUTE),
        _ => Outcome::Handled,
    });
    let retry = RetryOptions::default().place(RetryPlace::Process);
    let listener = rig.builder().retry(retry).endpoint(says).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(sorted(rig.seen_so_far()), ["error 1", "info 1", "warn 1"]);
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(sorted(rig.seen_so_far()), ["error 2", "info 2", "warn 2"]);
    finish(&listener).await;
    for priority in QUEUES {
        rig.assert_empty(&quarantine(priority)).await;
    }
}

/// Gives `info` up, and never returns from `error`.
struct Kills(mpsc::UnboundedSender<()>);

#[notification_endpoint(register = false, name = "kills")]
impl Kills {
    async fn info(&self) -> Outcome {
        Outcome::dead_letter("no")
    }

    async fn error(&self) {
        let _ = self.0.send(());
        std::future::pending::<()>().await;
    }
}

fn kills(rig: &Rig, process: &Process) -> (ListenerBuilder, mpsc::UnboundedReceiver<()>) {
    let (begins, begun) = mpsc::unbounded_channel();
    let transport = Transport::new(process.clone(), "dies");
    (rig.builder().transport(transport).endpoint(Kills(begins)), begun)
}

#[tokio::test(start_paused = true)]
async fn the_deaths_of_another_one_are_no_evidence_against_one_that_waits() {
    let (model, rig) = model();
    model.change(|conditions| conditions.dead_letters_full = true);
    put(&rig, "info").await;
    // So that the queue exists.
    put(&rig, "error").await;
    rig.take(&quarantine("error")).await;
    for death in 0..4 {
        let process = model.process();
        let (builder, mut begun) = kills(&rig, &process);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        // The one that is given up waits by now for its dead letter.
        tokio::time::sleep(10 * SECOND).await;
        if death == 0 {
            put(&rig, "error").await;
        }
        tokio::time::timeout(MINUTE, begun.recv()).await.expect("it is begun").unwrap();
        process.kill();
    }
    model.change(|conditions| conditions.dead_letters_full = false);
    let (builder, mut begun) = kills(&rig, &model.process());
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    assert!(begun.try_recv().is_err(), "it is given up");
    for (priority, reason) in [("error", "poison"), ("info", "given-up")] {
        let letter = rig.take(&format!("notifications.{priority}.dead")).await;
        assert_eq!(letter.properties.headers.text("listener-reason"), Some(reason), "{priority}");
    }
}

/// A process whose journal cannot be reached for a time.
struct Away(Process, Arc<AtomicBool>);

impl Driver for Away {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        self.0.subscribe(subscription)
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        self.0.send(outgoing)
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        if self.1.load(Ordering::SeqCst) {
            let away = Err(JournalError::Unreachable("away".to_owned()));
            return std::future::ready(away).boxed();
        }
        self.0.journal(append)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

/// Takes half a minute for each, and notes how many are called at once.
#[derive(Clone, Default)]
struct AtOnce(Arc<Mutex<Vec<usize>>>, Arc<AtomicU32>);

#[notification_endpoint(register = false, name = "at-once")]
impl AtOnce {
    async fn info(&self, payload: u32, log: State<Log>) {
        let beside = self.1.fetch_add(1, Ordering::SeqCst);
        self.0.lock().unwrap().push(usize::try_from(beside).unwrap());
        tokio::time::sleep(30 * SECOND).await;
        self.1.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(payload.to_string());
    }
}

/// Sends some that a process takes, and gives back at its stop.
async fn redelivered(model: &Model, rig: &Rig, count: u32) {
    for number in 0..count {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    let transport = Transport::new(model.process(), "stops");
    let builder = rig.builder().transport(transport).shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(AtOnce::default()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(SECOND).await;
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn once_the_journal_is_back_what_was_redelivered_is_worked_on_as_usual() {
    let (model, mut rig) = model();
    redelivered(&model, &rig, 10).await;
    let is_away = Arc::new(AtomicBool::new(true));
    let transport = Transport::new(Away(model.process(), Arc::clone(&is_away)), "away");
    let at_once = AtOnce::default();
    let builder = rig.builder().transport(transport);
    let listener = builder.endpoint(at_once.clone()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(*at_once.0.lock().unwrap(), [0], "one at a time while nothing is known");
    is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(50 * SECOND).await;
    assert_eq!(rig.seen_so_far().len(), 10, "{:?}", at_once.0);
    finish(&listener).await;
}

/// Works for nine minutes on the first one; gives the others up.
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
async fn how_long_one_may_be_held_counts_from_when_it_was_taken() {
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
    // By default that is 15 minutes.
    tokio::time::sleep(6 * MINUTE).await;
    assert_eq!(rig.seen_so_far(), ["1"], "the copy in its place");
    model.change(|conditions| conditions.dead_letters_full = false);
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    assert_eq!(rig.dead_letter().await.reason, "given-up");
}

/// Takes 40 minutes for each, and 25 for a warning.
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

/// Has a process take what is there, and give it back at its stop.
async fn take_and_stop(model: &Model, rig: &Rig) {
    let transport = Transport::new(model.process(), "stops");
    let builder = rig.builder().transport(transport).shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(Long).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(SECOND).await;
    finish(&listener).await;
}

/// A process without a journal, as long as that is away.
fn away(model: &Model) -> Transport {
    Transport::new(Away(model.process(), Arc::new(AtomicBool::new(true))), "away")
}

/// Runs for three hours; how long any delivery of these queues was in hand at most, in minutes, while
/// no method worked on one of its queue.
async fn longest_wait(listener: &listener::Listener, queues: &[String]) -> u64 {
    let mut longest = Duration::ZERO;
    for _ in 0..180 {
        tokio::time::sleep(MINUTE).await;
        let health = listener.health();
        for queue in health.queues.iter().filter(|health| queues.contains(&health.queue)) {
            if queue.in_work == 0 {
                longest = longest.max(queue.oldest.unwrap_or_default());
            }
        }
    }
    longest.as_secs().div_ceil(60)
}

/// A broker closes the channel of whoever holds a delivery for too long, which repeats the work on all
/// that are in hand. Nor does one that waits need a slot for that.
#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_turn_is_held_no_longer_than_any_other() {
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
async fn nor_while_nothing_is_known_of_what_was_redelivered() {
    let (model, mut rig) = model();
    for priority in ["info", "error"] {
        send(&rig, priority).await;
    }
    take_and_stop(&model, &rig).await;
    // An inbox has those of one id wait for each other, which is no order.
    let builder = rig.builder().transport(away(&model)).inbox(MemoryInbox::new(10));
    let builder = builder.handler_timeout(60 * MINUTE).endpoint(Long);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    let queues = ["notifications.info".to_owned(), "notifications.error".to_owned()];
    let longest = longest_wait(&listener, &queues).await;
    assert!((14..=16).contains(&longest), "{longest} min");
    assert_eq!(sorted(rig.seen_so_far()), ["error", "info"]);
    finish(&listener).await;
}

/// A queue drops what comes back too often, and nothing can be put in its place meanwhile.
#[tokio::test(start_paused = true)]
async fn one_near_the_delivery_limit_of_its_queue_waits_for_its_turn_for_as_long_as_it_takes() {
    let (model, mut rig) = model();
    for priority in ["info", "error"] {
        send(&rig, priority).await;
        let limit = Limit { deliveries: 5, dead_letters: None };
        model.limit(&format!("notifications.{priority}"), limit);
    }
    take_and_stop(&model, &rig).await;
    let retry = RetryOptions::default().hold(MINUTE);
    let builder = rig.builder().transport(away(&model)).retry(retry);
    let builder = builder.handler_timeout(60 * MINUTE).endpoint(Long);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    model.change(|conditions| conditions.full = true);
    tokio::time::sleep(100 * MINUTE).await;
    assert_eq!(sorted(rig.seen_so_far()), ["error", "info"], "{:?}", model.depths());
    finish(&listener).await;
}

/// Has two processes die that work on so many.
async fn die_of(model: &Model, rig: &Rig, count: usize) {
    for _ in 0..2 {
        let (process, called) = (model.process(), AtOnce::default());
        let transport = Transport::new(process.clone(), "dies");
        let listener = rig.builder().transport(transport).endpoint(called.clone()).build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(called.0.lock().unwrap().len(), count);
        process.kill();
    }
}

/// It was held for as long as it may be while it could not be quarantined.
#[tokio::test(start_paused = true)]
async fn those_that_cannot_be_quarantined_are_worked_on_one_after_the_other() {
    let (model, rig) = model();
    for number in 0..4_u32 {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    die_of(&model, &rig, 4).await;
    model.change(|conditions| conditions.full = true);
    let called = AtOnce::default();
    let listener = rig.builder().endpoint(called.clone()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(*called.0.lock().unwrap(), [0; 4], "one at a time");
    finish(&listener).await;
    model.change(|conditions| conditions.full = false);
    rig.assert_empty("notifications.info").await;
}

/// Each attempt to move it has its time, and RabbitMQ takes back what is held for half an hour.
#[tokio::test(start_paused = true)]
async fn one_near_its_delivery_limit_that_can_be_moved_nowhere_is_worked_on_before_it_is_taken_back()
 {
    let (model, rig) = model();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    model.limit("notifications.info", Limit { deliveries: 5, dead_letters: None });
    die_of(&model, &rig, 1).await;
    model.change(|conditions| conditions.full = true);
    let called = AtOnce::default();
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

/// Wants an order, and one more try of the error.
struct Ordered;

#[notification_endpoint(register = false, name = "ordered", ordered_by = "payload.id")]
impl Ordered {
    async fn error(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        let _ = log.send(format!("error {}", attempt.0));
        if attempt.0 == 1 { Outcome::retry_after(MINUTE) } else { Outcome::Handled }
    }
}

/// One from quarantine has lost its place in the order before.
#[tokio::test(start_paused = true)]
async fn one_in_order_that_waits_for_its_second_try_is_held_no_longer() {
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
        longest = longest.max(queue.oldest.unwrap_or_default());
    }
    assert!(longest <= 17 * MINUTE, "{longest:?}");
    assert_eq!(rig.seen_so_far(), ["error 1", "info", "error 2"]);
    finish(&listener).await;
}

/// A process that can put no copy into any queue, and counts how often it is tried.
fn no_copies(process: Process, tries: &Arc<AtomicU32>) -> Transport {
    let tries = Arc::clone(tries);
    sending(&Transport::new(process, "model"), move |_, outgoing| {
        tries.fetch_add(1, Ordering::SeqCst);
        let (route, size) = (outgoing.route.to_string(), outgoing.body.len());
        std::future::ready(Err(SendError::TooLarge { route, size, limit: 1 }))
    })
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_and_can_be_put_nowhere_tries_that_for_as_long_as_it_waits() {
    let (model, mut rig) = model();
    let body = br#"{"priority": "error", "event_type": "x", "payload": {"id": 1}}"#;
    rig.put_with(&quarantine("error"), Bytes::from_static(body), Properties::default()).await;
    put(&rig, "info").await;
    let tries = Arc::new(AtomicU32::new(0));
    let transport = no_copies(model.process(), &tries);
    let builder = rig.builder().transport(transport);
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

/// Counts what was quarantined.
#[derive(Clone, Default)]
struct Quarantined(Arc<AtomicU32>);

impl Observer for Quarantined {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Quarantined { .. } = event {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Takes half a minute for each, beside `AtOnce`.
struct Other;

#[notification_endpoint(register = false, name = "other")]
impl Other {
    async fn info(&self, log: State<Log>) {
        tokio::time::sleep(30 * SECOND).await;
        let _ = log.send("other".to_owned());
    }
}

/// How many are quarantined, though nobody died, of two with the same body that two processes work on
/// at once after a third one has stopped.
async fn quarantined(properties: [Properties; 2], calls: usize) -> u32 {
    let (model, mut rig) = model();
    let body = Bytes::from_static(br#"{"priority": "info", "event_type": "x", "payload": 1}"#);
    for properties in properties {
        rig.send_with(body.clone(), properties).await;
    }
    let quarantined = Quarantined::default();
    let start = async |name: &str, prefetch| {
        let builder = rig.builder().transport(Transport::new(model.process(), name));
        let builder = builder.prefetch(prefetch).observer(quarantined.clone());
        let builder = builder.shutdown_timeout(Duration::ZERO);
        let builder = builder.endpoint(AtOnce::default()).endpoint(Other);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        listener
    };
    let stops = start("stops", 2).await;
    tokio::time::sleep(SECOND).await;
    finish(&stops).await;
    let listeners = [start("one", 1).await, start("two", 1).await];
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(rig.seen_so_far().len(), calls);
    for listener in listeners {
        finish(&listener).await;
    }
    quarantined.0.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn copies_for_different_methods_are_no_evidence_against_each_other() {
    let owed = |name: &str| {
        let mut headers = Headers::default();
        headers.set("listener-endpoints", HeaderValue::List(vec![HeaderValue::Text(name.into())]));
        Properties { headers, ..Properties::default() }
    };
    assert_eq!(quarantined([owed("at-once::info"), owed("other::info")], 2).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_another_id_is_no_evidence_though_its_body_is_the_same() {
    let named = |id: &str| Properties { message_id: Some(id.into()), ..Properties::default() };
    assert_eq!(quarantined([named("a"), named("b")], 4).await, 0);
    // These cannot be told apart: what ends a process in one of them does so in the other.
    assert_eq!(quarantined([named("a"), named("a")], 4).await, 1);
}

/// A broker that refuses the first copy for a quarantine queue after so long, and takes the second one
/// after so long.
fn at_the_second(below: &Transport, [first, second]: [Duration; 2]) -> Transport {
    let tries = AtomicU32::new(0);
    sending(below, move |below, outgoing| {
        let is_quarantine = matches!(outgoing.route, Route::Quarantine(_));
        let number = if is_quarantine { tries.fetch_add(1, Ordering::SeqCst) } else { u32::MAX };
        async move {
            match number {
                0 => {
                    tokio::time::sleep(first).await;
                    return Err(SendError::Refused { route: outgoing.route.to_string() });
                }
                1 => tokio::time::sleep(second).await,
                _ => {}
            }
            below.send(outgoing).await
        }
    })
}

/// How many of these are quarantined within a minute after the journal is back, by a listener that
/// holds nothing for longer than that.
async fn quarantined_at_the_second(
    (count, away): (u32, Duration),
    hold: Duration,
    times: [Duration; 2],
) -> u32 {
    let (model, rig) = model();
    for number in 0..count {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    die_of(&model, &rig, usize::try_from(count).unwrap()).await;
    let is_away = Arc::new(AtomicBool::new(!away.is_zero()));
    let below = Transport::new(Away(model.process(), Arc::clone(&is_away)), "away");
    let retry = RetryOptions::default().hold(hold);
    let quarantined = Quarantined::default();
    let builder = rig.builder().transport(at_the_second(&below, times)).retry(retry);
    let builder = builder.observer(quarantined.clone()).endpoint(AtOnce::default());
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(away).await;
    is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    quarantined.0.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_to_quarantine_one_has_the_time_of_any_other() {
    let times = [10 * SECOND, 5 * SECOND];
    assert_eq!(quarantined_at_the_second((1, Duration::ZERO), 16 * SECOND, times).await, 1);
}

/// The first one is worked on for half a minute, as nothing is known.
#[tokio::test(start_paused = true)]
async fn one_that_has_waited_for_its_turn_is_tried_to_be_quarantined_for_a_while_as_well() {
    let times = [5 * SECOND, SECOND];
    assert_eq!(quarantined_at_the_second((2, 20 * SECOND), 33 * SECOND, times).await, 1);
}
