//! What counts as a crash, and what does not: an interrupted stop, a record whose confirm was lost, a
//! slow or unavailable journal. Dead letters that are put back are in `put_back.rs`, delivery limits in
//! `delivery_limit.rs`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::driver::{
    ConnectError, Driver, JournalAppend, JournalError, JournalRead, Outgoing, SendError,
    Subscribed, Subscription,
};
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::testing::{Conditions, Model, Process};
use listener::{Context, Listener, State, Transport, notification_endpoint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::rig::{Log, Rig, finish};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How the journal of a process behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journal {
    Works,
    Refused,
    Away,
    /// Takes long to append the beginning of a delivery.
    Slow,
    /// Never answers.
    Hangs,
    /// Appends the beginning of a delivery, and loses the confirm.
    Unconfirmed,
}

/// A process whose journal behaves as set.
#[derive(Clone)]
struct Recording {
    process: Process,
    journal: Arc<Mutex<Journal>>,
    /// How many appends were requested.
    appended: Arc<AtomicU32>,
}

impl Driver for Recording {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        self.process.subscribe(subscription)
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        self.process.send(outgoing)
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        let journal = *self.journal.lock().unwrap();
        self.appended.fetch_add(1, Ordering::SeqCst);
        let begins = String::from_utf8_lossy(&append.entry).contains("\"begin\"");
        async move {
            match journal {
                Journal::Works => self.process.journal(append).await,
                Journal::Refused => Err(JournalError::Unsupported("no permission".to_owned())),
                Journal::Away => Err(JournalError::Unreachable("away".to_owned())),
                Journal::Slow => {
                    if begins {
                        tokio::time::sleep(9 * SECOND).await;
                    }
                    self.process.journal(append).await
                }
                Journal::Hangs => std::future::pending().await,
                Journal::Unconfirmed => {
                    let read = self.process.journal(append).await;
                    if begins { Err(JournalError::Unreachable("late".to_owned())) } else { read }
                }
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// Never returns.
pub(crate) struct Hangs(pub(crate) mpsc::UnboundedSender<()>);

#[notification_endpoint(register = false)]
impl Hangs {
    async fn info(&self) {
        let _ = self.0.send(());
        std::future::pending::<()>().await;
    }
}

pub(crate) fn hangs() -> Hangs {
    Hangs(mpsc::unbounded_channel().0)
}

pub(crate) struct Logs;

#[notification_endpoint(register = false)]
impl Logs {
    async fn info(&self, payload: &str, log: State<Log>) {
        let _ = log.send(payload.to_owned());
    }
}

/// The decisions against suspects.
#[derive(Clone, Default)]
pub(crate) struct Decisions(Arc<Mutex<Vec<String>>>);

impl Decisions {
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Decisions {
    fn observe(&self, event: &Event<'_>) {
        let decisions = match event {
            Event::Quarantined { crashes, .. } => format!("quarantined after {crashes}"),
            Event::DeadLettered { reason, .. } => format!("dead letter: {reason}"),
            _ => return,
        };
        self.0.lock().unwrap().push(decisions);
    }
}

/// A bus with one healthy notification in its queue.
pub(crate) async fn model_with_one() -> (Model, Rig) {
    let model = Model::new(1);
    let rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"healthy").await.unwrap();
    (model, rig)
}

/// A listener whose method never returns, and that aborts it at a stop.
async fn start(
    rig: &Rig,
    process: Process,
    journal: &Arc<Mutex<Journal>>,
    decisions: &Decisions,
) -> Listener {
    let driver = Recording { process, journal: Arc::clone(journal), appended: Arc::default() };
    let builder = rig.builder_on(Transport::new(driver, "recording"));
    let builder = builder.observer(decisions.clone()).shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(hangs()).build().unwrap();
    listener.start().await.unwrap();
    listener
}

fn journal_state(journal: Journal) -> Arc<Mutex<Journal>> {
    Arc::new(Mutex::new(journal))
}

/// A process that works on it for a while, and stops orderly.
pub(crate) async fn work_and_stop(rig: &Rig, process: Process, behaviour: Journal) {
    let listener = start(rig, process, &journal_state(behaviour), &Decisions::default()).await;
    tokio::time::sleep(20 * SECOND).await;
    finish(&listener).await;
}

struct Slow;

#[notification_endpoint(register = false)]
impl Slow {
    async fn info(&self, payload: &str, log: State<Log>) {
        if payload == "slow" {
            tokio::time::sleep(540 * SECOND).await;
        }
        let _ = log.send(payload.to_owned());
    }

    async fn error(&self, log: State<Log>) {
        let _ = log.send("error".to_owned());
    }
}

/// Quarantining fails for a moment, and all slots are taken when it becomes possible.
#[tokio::test(start_paused = true)]
async fn a_suspect_is_moved_to_quarantine_without_a_slot() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"suspect").await.unwrap();
    for _ in 0..2 {
        die_of_one(&model).await;
    }
    let builder = rig.builder().executor(Executor::Concurrent(16)).endpoint(Slow);
    let listener = builder.build().unwrap();
    model.change(|conditions| conditions.full = true);
    listener.start().await.unwrap();
    // The bus has to accept the others.
    tokio::time::sleep(7 * SECOND).await;
    model.change(|conditions| conditions.full = false);
    for _ in 0..20 {
        rig.notifier().info(&Context::new(), "x", &"slow").await.unwrap();
    }
    model.change(|conditions| conditions.full = true);
    tokio::time::sleep(20 * SECOND).await;
    model.change(|conditions| *conditions = Conditions::default());
    tokio::time::sleep(60 * SECOND).await;
    rig.notifier().error(&Context::new(), "x", &"e").await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(rig.seen_so_far(), ["error"], "{:?}", model.depths());
    tokio::time::sleep(1200 * SECOND).await;
    assert!(rig.seen_so_far().contains(&"suspect".to_owned()), "{:?}", model.depths());
    finish(&listener).await;
}

/// A process that crashes while it works on its first delivery.
pub(crate) async fn die_of_one(model: &Model) {
    let process = model.process();
    let (begins, mut begun) = mpsc::unbounded_channel();
    let transport = Transport::new(process.clone(), "crashes");
    let listener =
        Listener::builder().transport(transport).endpoint(Hangs(begins)).build().unwrap();
    listener.start().await.unwrap();
    let begins = tokio::time::timeout(600 * SECOND, begun.recv()).await;
    begins.expect("no call began").unwrap();
    process.kill();
}

/// How a program ends while a method runs.
#[derive(Clone, Copy, Debug)]
enum CutShort {
    Stop,
    Drop,
}

/// A process that is killed while it stops, before its method has ended.
async fn end_before_the_method(model: &Model, how: CutShort) {
    let process = model.process();
    let (begins, mut begun) = mpsc::unbounded_channel();
    let transport = Transport::new(process.clone(), "cut short");
    let listener =
        Listener::builder().transport(transport).endpoint(Hangs(begins)).build().unwrap();
    listener.start().await.unwrap();
    let begins = tokio::time::timeout(600 * SECOND, begun.recv()).await;
    begins.expect("no call began").unwrap();
    match how {
        CutShort::Stop => listener.stop().await,
        CutShort::Drop => {
            drop(listener);
            tokio::time::sleep(SECOND / 10).await;
        }
    }
    process.kill();
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_stop_is_not_a_crash() {
    for how in [CutShort::Stop, CutShort::Drop] {
        let (model, mut rig) = model_with_one().await;
        for _ in 0..6 {
            end_before_the_method(&model, how).await;
        }
        let decisions = Decisions::default();
        handle(&rig, &decisions).await;
        assert_eq!(rig.seen_so_far(), ["healthy"], "{how:?}");
        assert_eq!(decisions.so_far(), [""; 0], "{how:?}");
    }
}

/// Runs a process that handles every delivery, for a minute.
pub(crate) async fn handle(rig: &Rig, decisions: &Decisions) {
    let builder = rig.builder().observer(decisions.clone());
    let listener = builder.endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_given_up_suspect_stays_in_quarantine_while_dead_letter_queues_are_full() {
    let (model, mut rig) = model_with_one().await;
    for _ in 0..5 {
        die_of_one(&model).await;
    }
    model.change(|conditions| conditions.dead_letters_full = true);
    let listener = rig.builder().endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    for _ in 0..12 {
        tokio::time::sleep(600 * SECOND).await;
        let health = listener.health();
        let held = health.queues.iter().filter_map(|queue| queue.oldest_age).max();
        assert!(held.is_some_and(|held| held <= 960 * SECOND), "{held:?}");
    }
    model.change(|conditions| *conditions = Conditions::default());
    tokio::time::sleep(60 * SECOND).await;
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    let left: Vec<_> = model.depths().into_iter().filter(|(_, depth)| *depth > 0).collect();
    assert_eq!(left, [("notifications.info.dead".to_owned(), 1)]);
}

/// A process works on a delivery that it believes is unrecorded, and stays alive; its session ends.
#[tokio::test(start_paused = true)]
async fn a_record_whose_confirm_was_lost_is_not_a_crash() {
    let (model, rig) = model_with_one().await;
    // After an orderly stop it is redelivered.
    work_and_stop(&rig, model.process(), Journal::Works).await;
    let decisions = Decisions::default();
    let one = start(&rig, model.process(), &journal_state(Journal::Unconfirmed), &decisions).await;
    tokio::time::sleep(60 * SECOND).await;
    let two = start(&rig, model.process(), &journal_state(Journal::Works), &decisions).await;
    tokio::time::sleep(20 * SECOND).await;
    model.cancel(0);
    tokio::time::sleep(60 * SECOND).await;
    assert!(one.is_ready() && two.is_ready());
    assert_eq!(decisions.so_far(), [""; 0], "nobody crashed");
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_recorded_after_the_journal_was_briefly_unavailable() {
    for trouble in [Journal::Away, Journal::Refused] {
        let (model, rig) = model_with_one().await;
        work_and_stop(&rig, model.process(), Journal::Works).await;
        let (behaviour, process, decisions) =
            (journal_state(Journal::Works), model.process(), Decisions::default());
        let one = start(&rig, process.clone(), &behaviour, &decisions).await;
        tokio::time::sleep(20 * SECOND).await;
        *behaviour.lock().unwrap() = trouble;
        model.lose_connections("a test");
        tokio::time::sleep(4 * SECOND).await;
        *behaviour.lock().unwrap() = Journal::Works;
        finish(&one).await;
        // It has stopped orderly; now the process is gone.
        process.kill();
        let two = start(&rig, model.process(), &journal_state(Journal::Works), &decisions).await;
        tokio::time::sleep(60 * SECOND).await;
        finish(&two).await;
        assert_eq!(decisions.so_far(), [""; 0], "nobody crashed: {trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_be_recorded_is_logged() {
    for (trouble, is_logged) in
        [(Journal::Away, true), (Journal::Refused, true), (Journal::Works, false)]
    {
        let (model, rig) = model_with_one().await;
        work_and_stop(&rig, model.process(), Journal::Works).await;
        let buffer = crate::logging::Buffer::default();
        let _guard = buffer.set();
        let behaviour = journal_state(Journal::Works);
        let listener = start(&rig, model.process(), &behaviour, &Decisions::default()).await;
        tokio::time::sleep(20 * SECOND).await;
        *behaviour.lock().unwrap() = trouble;
        finish(&listener).await;
        let text = buffer.text();
        assert_eq!(
            text.contains("the stop could not be recorded"),
            is_logged,
            "{trouble:?} {text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_journal_does_not_delay_other_deliveries() {
    let (model, mut rig) = model_with_one().await;
    work_and_stop(&rig, model.process(), Journal::Works).await;
    let (process, journal, appended) =
        (model.process(), journal_state(Journal::Slow), Arc::default());
    let transport = Transport::new(Recording { process, journal, appended }, "slow to record");
    let builder = rig.builder_on(transport).executor(Executor::Concurrent(1));
    let listener = builder.endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &"other").await.unwrap();
    assert_eq!([rig.seen().await, rig.seen().await], ["other", "healthy"]);
    finish(&listener).await;
}

/// How many calls run at once, and the most that did.
#[derive(Clone, Default)]
struct CountsCalls(Arc<Mutex<(u32, u32)>>);

#[notification_endpoint(register = false)]
impl CountsCalls {
    async fn info(&self) {
        {
            let mut calls = self.0.lock().unwrap();
            calls.0 += 1;
            calls.1 = calls.1.max(calls.0);
        }
        tokio::time::sleep(30 * SECOND).await;
        self.0.lock().unwrap().0 -= 1;
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_of_a_slow_journal_respect_the_concurrency_limit() {
    let (model, rig) = model_with_one().await;
    rig.notifier().info(&Context::new(), "x", &"another").await.unwrap();
    work_and_stop(&rig, model.process(), Journal::Works).await;
    let (process, journal, appended) =
        (model.process(), journal_state(Journal::Slow), Arc::default());
    let transport = Transport::new(Recording { process, journal, appended }, "slow to record");
    let builder = rig.builder_on(transport).executor(Executor::Concurrent(1));
    let calls = CountsCalls::default();
    let listener = builder.endpoint(calls.clone()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(200 * SECOND).await;
    finish(&listener).await;
    assert_eq!(*calls.0.lock().unwrap(), (0, 1));
    assert!(model.depths().into_values().all(|depth| depth == 0), "{:?}", model.depths());
}

/// The session of a process ends while its journal is unavailable; the journal is back before others
/// decide.
#[tokio::test(start_paused = true)]
async fn a_session_that_ended_while_the_journal_was_away_is_not_a_crash() {
    let (model, rig) = model_with_one().await;
    work_and_stop(&rig, model.process(), Journal::Works).await;
    let (decisions, behaviour) = (Decisions::default(), journal_state(Journal::Works));
    let one = start(&rig, model.process(), &behaviour, &decisions).await;
    tokio::time::sleep(20 * SECOND).await;
    let two = start(&rig, model.process(), &journal_state(Journal::Works), &decisions).await;
    *behaviour.lock().unwrap() = Journal::Away;
    model.cancel(0);
    tokio::time::sleep(3 * SECOND / 2).await;
    *behaviour.lock().unwrap() = Journal::Works;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(decisions.so_far(), [""; 0], "nobody crashed");
    finish(&one).await;
    finish(&two).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_recorded_after_a_stop_has_finished() {
    for last in [Journal::Works, Journal::Away] {
        let (model, rig) = model_with_one().await;
        work_and_stop(&rig, model.process(), Journal::Works).await;
        let (process, behaviour, appended) =
            (model.process(), journal_state(Journal::Works), Arc::default());
        let driver =
            Recording { process, journal: Arc::clone(&behaviour), appended: Arc::clone(&appended) };
        let builder = rig.builder_on(Transport::new(driver, "recording"));
        let builder = builder.shutdown_timeout(Duration::ZERO).endpoint(Logs);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(SECOND / 2).await;
        *behaviour.lock().unwrap() = last;
        finish(&listener).await;
        let before = appended.load(Ordering::SeqCst);
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(appended.load(Ordering::SeqCst), before, "{last:?}");
    }
}

/// Works for a while.
struct Works(Duration);

#[notification_endpoint(register = false)]
impl Works {
    async fn info(&self) {
        tokio::time::sleep(self.0).await;
    }
}

/// Methods that end meanwhile do not lengthen the wait.
#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_be_recorded_returns_after_two_seconds() {
    for after_stop in [SECOND / 2, 9 * SECOND / 10, 3 * SECOND / 2, 20 * SECOND] {
        let (model, rig) = model_with_one().await;
        work_and_stop(&rig, model.process(), Journal::Works).await;
        let journal = journal_state(Journal::Works);
        let appended = Arc::default();
        let driver =
            Recording { process: model.process(), journal: Arc::clone(&journal), appended };
        let builder = rig.builder_on(Transport::new(driver, "recording"));
        let listener = builder.endpoint(Works(10 * SECOND + after_stop)).build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        *journal.lock().unwrap() = Journal::Hangs;
        let began = Instant::now();
        listener.stop().await;
        let took = began.elapsed();
        assert!(took <= 2 * SECOND + SECOND / 100, "{after_stop:?}: {took:?}");
        listener.wait().await.unwrap();
    }
}

/// A process that exits when `stop` returns, while a method runs, has withdrawn what it recorded.
#[tokio::test(start_paused = true)]
async fn a_stop_records_again_while_the_journal_is_briefly_away() {
    let (model, rig) = model_with_one().await;
    work_and_stop(&rig, model.process(), Journal::Works).await;
    let (journal, process, appended) =
        (journal_state(Journal::Works), model.process(), Arc::default());
    let driver = Recording { process: process.clone(), journal: Arc::clone(&journal), appended };
    let builder = rig.builder_on(Transport::new(driver, "recording"));
    let listener = builder.endpoint(Works(100 * SECOND)).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    *journal.lock().unwrap() = Journal::Away;
    let back = async {
        tokio::time::sleep(SECOND).await;
        *journal.lock().unwrap() = Journal::Works;
    };
    tokio::join!(listener.stop(), back);
    process.kill();
    let decisions = Decisions::default();
    let two = start(&rig, model.process(), &journal_state(Journal::Works), &decisions).await;
    tokio::time::sleep(60 * SECOND).await;
    finish(&two).await;
    assert_eq!(decisions.so_far(), [""; 0], "nobody crashed");
}
