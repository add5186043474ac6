//! Suspects are handled one at a time, over all queues of a listener. One that only waits does not delay
//! the others, and crashes caused by another suspect do not count against it. How long one is held is in
//! `suspects_held.rs`, and what is quarantined in `suspects_quarantined.rs`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::driver::{
    ConnectError, Driver, JournalAppend, JournalError, JournalRead, Outgoing, Properties,
    SendError, Subscribed, Subscription,
};
use listener::options::{RetryOptions, RetryStorage};
use listener::testing::{Model, Process};
use listener::{
    Attempt, Context, ListenerBuilder, Outcome, State, Transport, notification_endpoint,
};
use tokio::sync::mpsc;

use crate::rig::{Log, Rig, finish};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const QUEUES: [&str; 3] = ["error", "warn", "info"];

pub(crate) fn model() -> (Model, Rig) {
    let model = Model::new(1);
    let rig = Rig::on(Transport::new(model.process(), "model"));
    (model, rig)
}

pub(crate) fn quarantine(priority: &str) -> String {
    format!("notifications.{priority}.quarantine")
}

/// Puts a notification into the quarantine queue of a priority.
pub(crate) async fn put(rig: &Rig, priority: &str) {
    let body = format!(r#"{{"priority": "{priority}", "event_type": "x", "payload": 1}}"#);
    rig.put_with(&quarantine(priority), Bytes::from(body), Properties::default()).await;
}

/// Returns a given outcome for each call, after a second in which no other call may run.
struct Returns {
    outcome: fn(u32) -> Outcome,
    running: AtomicU32,
}

impl Returns {
    fn new(outcome: fn(u32) -> Outcome) -> Self {
        Self { outcome, running: AtomicU32::new(0) }
    }
}

impl Returns {
    async fn call(&self, priority: &str, attempt: u32, log: &Log) -> Outcome {
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "two calls at once");
        tokio::time::sleep(SECOND).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(format!("{priority} {attempt}"));
        (self.outcome)(attempt)
    }
}

#[notification_endpoint(register = false, name = "returns")]
impl Returns {
    async fn error(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        self.call("error", attempt.0, &log).await
    }

    async fn warn(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        self.call("warn", attempt.0, &log).await
    }

    async fn info(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        self.call("info", attempt.0, &log).await
    }
}

pub(crate) fn sorted(mut seen: Vec<String>) -> Vec<String> {
    seen.sort();
    seen
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waiting_for_its_dead_letter_does_not_delay_others() {
    let (model, mut rig) = model();
    model.change(|conditions| conditions.dead_letters_full = true);
    for priority in QUEUES {
        put(&rig, priority).await;
    }
    let returns = Returns::new(|_| Outcome::dead_letter("no"));
    let listener = rig.builder().endpoint(returns).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert!(!listener.is_ready());
    assert_eq!(sorted(rig.seen_so_far()), ["error 1", "info 1", "warn 1"]);
    model.change(|conditions| conditions.dead_letters_full = false);
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    for priority in QUEUES {
        let dead_letter = rig.take(&format!("notifications.{priority}.dead")).await;
        assert_eq!(dead_letter.properties.headers.get_str("listener-reason"), Some("given-up"));
        rig.assert_empty(&quarantine(priority)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waiting_for_its_retry_does_not_delay_others() {
    let (_model, mut rig) = model();
    for priority in QUEUES {
        put(&rig, priority).await;
    }
    let returns = Returns::new(|attempt| match attempt {
        1 => Outcome::retry_after(5 * MINUTE),
        _ => Outcome::Handled,
    });
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let listener = rig.builder().retry(retry).endpoint(returns).build().unwrap();
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

/// Gives up `info`, and never returns from `error`.
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
    let transport = Transport::new(process.clone(), "crashes");
    (rig.builder_on(transport).endpoint(Kills(begins)), begun)
}

#[tokio::test(start_paused = true)]
async fn crashes_of_another_suspect_do_not_count_against_a_waiting_one() {
    let (model, rig) = model();
    model.change(|conditions| conditions.dead_letters_full = true);
    put(&rig, "info").await;
    // This creates the queue.
    put(&rig, "error").await;
    rig.take(&quarantine("error")).await;
    for crash in 0..4 {
        let process = model.process();
        let (builder, mut begun) = kills(&rig, &process);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        // By now the one that is given up waits for its dead letter.
        tokio::time::sleep(10 * SECOND).await;
        if crash == 0 {
            put(&rig, "error").await;
        }
        tokio::time::timeout(MINUTE, begun.recv()).await.expect("no call began").unwrap();
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
        let dead_letter = rig.take(&format!("notifications.{priority}.dead")).await;
        assert_eq!(
            dead_letter.properties.headers.get_str("listener-reason"),
            Some(reason),
            "{priority}"
        );
    }
}

/// A process whose journal cannot be reached while the flag is set.
pub(crate) struct JournalAway(pub(crate) Process, pub(crate) Arc<AtomicBool>);

impl Driver for JournalAway {
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

/// Takes half a minute for each call, and records how many others run when it begins.
#[derive(Clone, Default)]
pub(crate) struct CountsCalls(pub(crate) Arc<Mutex<Vec<usize>>>, Arc<AtomicU32>);

#[notification_endpoint(register = false, name = "at-once")]
impl CountsCalls {
    async fn info(&self, payload: u32, log: State<Log>) {
        let running = self.1.fetch_add(1, Ordering::SeqCst);
        self.0.lock().unwrap().push(usize::try_from(running).unwrap());
        tokio::time::sleep(30 * SECOND).await;
        self.1.fetch_sub(1, Ordering::SeqCst);
        let _ = log.send(payload.to_string());
    }
}

/// Sends notifications that a process takes, and releases at its stop.
async fn redelivered(model: &Model, rig: &Rig, count: u32) {
    for number in 0..count {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    let transport = Transport::new(model.process(), "stops");
    let builder = rig.builder_on(transport).shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(CountsCalls::default()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(SECOND).await;
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn redelivered_messages_are_handled_concurrently_once_the_journal_is_back() {
    let (model, mut rig) = model();
    redelivered(&model, &rig, 10).await;
    let is_away = Arc::new(AtomicBool::new(true));
    let transport = Transport::new(JournalAway(model.process(), Arc::clone(&is_away)), "away");
    let counts = CountsCalls::default();
    let builder = rig.builder_on(transport);
    let listener = builder.endpoint(counts.clone()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(*counts.0.lock().unwrap(), [0], "one at a time while the journal is unavailable");
    is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(50 * SECOND).await;
    assert_eq!(rig.seen_so_far().len(), 10, "{:?}", counts.0);
    finish(&listener).await;
}

/// Kills two processes that each work on this many deliveries.
pub(crate) async fn kill_two(model: &Model, rig: &Rig, count: usize) {
    for _ in 0..2 {
        let (process, called) = (model.process(), CountsCalls::default());
        let transport = Transport::new(process.clone(), "crashes");
        let listener = rig.builder_on(transport).endpoint(called.clone()).build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(called.0.lock().unwrap().len(), count);
        process.kill();
    }
}

/// Each was held for the whole of `hold`, while it could not be quarantined.
#[tokio::test(start_paused = true)]
async fn suspects_that_cannot_be_quarantined_are_handled_one_at_a_time() {
    let (model, rig) = model();
    for number in 0..4_u32 {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    kill_two(&model, &rig, 4).await;
    model.change(|conditions| conditions.full = true);
    let called = CountsCalls::default();
    let listener = rig.builder().endpoint(called.clone()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(*called.0.lock().unwrap(), [0; 4], "one at a time");
    finish(&listener).await;
    model.change(|conditions| conditions.full = false);
    rig.assert_empty("notifications.info").await;
}
