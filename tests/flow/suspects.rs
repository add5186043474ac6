//! Suspects that are worked on one at a time, over all queues of a listener: one that only waits keeps
//! no other one from being worked on, and what the other one does is no evidence against it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::drivers::memory::model::{Model, Process};
use listener::runtime::builder::ListenerBuilder;
use listener::runtime::options::{RetryOptions, RetryPlace};
use listener::transport::delivery::Properties;
use listener::transport::driver::{
    Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription,
};
use listener::transport::error::{ConnectError, JournalError, SendError};
use listener::{Attempt, Context, Executor, Outcome, State, Transport, notification_endpoint};
use tokio::sync::mpsc;

use crate::rig::{Log, Rig, finish};

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
    model.change(|weather| weather.dead_letters_full = true);
    for priority in QUEUES {
        put(&rig, priority).await;
    }
    let says = Says::new(|_| Outcome::dead_letter("no"));
    let listener = rig.builder().endpoint(says).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert!(!listener.is_ready());
    assert_eq!(sorted(rig.seen_so_far()), ["error 1", "info 1", "warn 1"]);
    model.change(|weather| weather.dead_letters_full = false);
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
    let retry = RetryOptions { place: RetryPlace::Process, ..RetryOptions::default() };
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
    model.change(|weather| weather.dead_letters_full = true);
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
    model.change(|weather| weather.dead_letters_full = false);
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
    model.change(|weather| weather.dead_letters_full = true);
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
    model.change(|weather| weather.dead_letters_full = false);
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    assert_eq!(rig.dead_letter().await.reason, "given-up");
}
