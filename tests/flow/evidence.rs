//! What counts as a death, and what does not: orderly stops near the delivery limit of a queue,
//! dead letters that were put back, records whose confirmation came late, and a journal that is
//! away or refused.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::driver::{ConnectError, JournalError, SendError};
use listener::driver::{
    Driver, JournalAppend, JournalRead, Outgoing, Route, Subscribed, Subscription,
};
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::testing::{Conditions, Limit, Model, Process};
use listener::{Context, Listener, State, Transport, notification_endpoint};
use tokio::sync::mpsc;

use crate::rig::{Log, Rig, finish};
use crate::sending::sending;

const SECOND: Duration = Duration::from_secs(1);

/// How the journal of a process behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Book {
    Works,
    Refused,
    Away,
    /// Takes long to append what begins something.
    Slow,
    /// Appends what begins something, and its confirmation is lost.
    Unconfirmed,
}

/// A process with a journal of its own behaviour.
#[derive(Clone)]
struct Recording {
    process: Process,
    book: Arc<Mutex<Book>>,
    /// How often something was to be appended.
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
        let book = *self.book.lock().unwrap();
        self.appended.fetch_add(1, Ordering::SeqCst);
        let begins = String::from_utf8_lossy(&append.entry).contains("\"begin\"");
        async move {
            match book {
                Book::Works => self.process.journal(append).await,
                Book::Refused => Err(JournalError::Unsupported("no permission".to_owned())),
                Book::Away => Err(JournalError::Unreachable("away".to_owned())),
                Book::Slow => {
                    if begins {
                        tokio::time::sleep(9 * SECOND).await;
                    }
                    self.process.journal(append).await
                }
                Book::Unconfirmed => {
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
struct Hangs(mpsc::UnboundedSender<()>);

#[notification_endpoint(register = false)]
impl Hangs {
    async fn info(&self) {
        let _ = self.0.send(());
        std::future::pending::<()>().await;
    }
}

fn hangs() -> Hangs {
    Hangs(mpsc::unbounded_channel().0)
}

struct Logs;

#[notification_endpoint(register = false)]
impl Logs {
    async fn info(&self, payload: &str, log: State<Log>) {
        let _ = log.send(payload.to_owned());
    }
}

/// What was decided against suspects.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Told {
    fn observe(&self, event: &Event<'_>) {
        let told = match event {
            Event::Quarantined { deaths, .. } => format!("quarantined after {deaths}"),
            Event::DeadLettered { reason, .. } => format!("dead letter: {reason}"),
            _ => return,
        };
        self.0.lock().unwrap().push(told);
    }
}

/// A bus, with one healthy notification in its queue.
async fn one_healthy() -> (Model, Rig) {
    let model = Model::new(1);
    let rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"healthy").await.unwrap();
    (model, rig)
}

/// A listener whose method never returns, and that ends it at a stop.
async fn start(rig: &Rig, process: Process, book: &Arc<Mutex<Book>>, told: &Told) -> Listener {
    let driver = Recording { process, book: Arc::clone(book), appended: Arc::default() };
    let builder = rig.builder().transport(Transport::new(driver, "recording"));
    let builder = builder.observer(told.clone()).shutdown_timeout(Duration::ZERO);
    let listener = builder.endpoint(hangs()).build().unwrap();
    listener.start().await.unwrap();
    listener
}

fn book(book: Book) -> Arc<Mutex<Book>> {
    Arc::new(Mutex::new(book))
}

/// A process that works on it for a while, and stops in order.
async fn work_and_stop(rig: &Rig, process: Process, its: Book) {
    let listener = start(rig, process, &book(its), &Told::default()).await;
    tokio::time::sleep(20 * SECOND).await;
    finish(&listener).await;
}

/// How many are left of one notification after many orderly stops, in a queue with a delivery
/// limit that dead-letters nothing.
async fn left_after_stops(its: Book) -> usize {
    let (model, rig) = one_healthy().await;
    model.limit("notifications.info", Limit { deliveries: 6, dead_letters: None });
    for _ in 0..12 {
        work_and_stop(&rig, model.process(), its).await;
    }
    model.depths().values().sum()
}

#[tokio::test(start_paused = true)]
async fn orderly_stops_near_the_delivery_limit_lose_nothing_whatever_the_journal_says() {
    for its in [Book::Works, Book::Refused, Book::Away] {
        assert_eq!(left_after_stops(its).await, 1, "{its:?}");
    }
}

/// A quarantine queue that exists is used as it is.
#[tokio::test(start_paused = true)]
async fn what_is_in_quarantine_is_renewed_before_its_queue_drops_it() {
    let (model, rig) = one_healthy().await;
    for _ in 0..2 {
        die_of_one(&model).await;
    }
    work_and_stop(&rig, model.process(), Book::Works).await;
    let quarantined = "notifications.info.quarantine";
    assert_eq!(model.depths().get(quarantined), Some(&1), "{:?}", model.depths());
    model.limit(quarantined, Limit { deliveries: 6, dead_letters: None });
    for _ in 0..12 {
        work_and_stop(&rig, model.process(), Book::Works).await;
    }
    assert_eq!(model.depths().get(quarantined), Some(&1), "{:?}", model.depths());
}

/// A queue that drops whatever comes back: to renew what comes for the first time would be endless.
#[tokio::test(start_paused = true)]
async fn what_was_never_given_out_before_is_not_renewed() {
    let (model, mut rig) = one_healthy().await;
    model.limit("notifications.info", Limit { deliveries: 0, dead_letters: None });
    let listener = rig.builder().endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::timeout(60 * SECOND, rig.seen()).await.expect("it is handled");
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

/// What cannot be quarantined stays in its queue, and is renewed there as any other is.
#[tokio::test(start_paused = true)]
async fn a_suspect_that_cannot_be_quarantined_is_renewed_before_its_queue_drops_it() {
    let (model, rig) = one_healthy().await;
    for _ in 0..2 {
        die_of_one(&model).await;
    }
    model.limit("notifications.info", Limit { deliveries: 6, dead_letters: None });
    for _ in 0..12 {
        let builder = rig.builder().transport(no_quarantine(model.process()));
        let builder = builder.shutdown_timeout(Duration::ZERO).endpoint(hangs());
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(20 * SECOND).await;
        finish(&listener).await;
    }
    assert_eq!(model.depths().values().sum::<usize>(), 1, "{:?}", model.depths());
}

/// A broker that lets nobody put anything into a quarantine queue.
fn no_quarantine(process: Process) -> Transport {
    sending(&Transport::new(process, "model"), |below, outgoing| async move {
        let Route::Quarantine(queue) = outgoing.route else { return below.send(outgoing).await };
        Err(SendError::TooLarge { route: queue, size: outgoing.body.len(), limit: 1 })
    })
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

/// A suspect cannot be quarantined for a moment, and all slots are taken when it can.
#[tokio::test(start_paused = true)]
async fn a_suspect_that_is_moved_waits_for_no_slot() {
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
    // So that the bus takes the others.
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

/// A process that dies while it works on what it is given first.
async fn die_of_one(model: &Model) {
    let process = model.process();
    let (begins, mut begun) = mpsc::unbounded_channel();
    let transport = Transport::new(process.clone(), "dies");
    let listener =
        Listener::builder().transport(transport).endpoint(Hangs(begins)).build().unwrap();
    listener.start().await.unwrap();
    let begins = tokio::time::timeout(600 * SECOND, begun.recv()).await;
    begins.expect("it is begun").unwrap();
    process.kill();
}

/// How the program ends while a method runs.
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
    begins.expect("it is begun").unwrap();
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
async fn a_stop_that_is_cut_short_is_no_death() {
    for how in [CutShort::Stop, CutShort::Drop] {
        let (model, mut rig) = one_healthy().await;
        for _ in 0..6 {
            end_before_the_method(&model, how).await;
        }
        let told = Told::default();
        handle(&rig, &told).await;
        assert_eq!(rig.seen_so_far(), ["healthy"], "{how:?}");
        assert_eq!(told.so_far(), [""; 0], "{how:?}");
    }
}

/// For a while, a process that handles what it is given.
async fn handle(rig: &Rig, told: &Told) {
    let builder = rig.builder().observer(told.clone());
    let listener = builder.endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    finish(&listener).await;
}

/// Kills processes until it is a dead letter, and puts that back, behind others.
async fn put_back(model: &Model, rig: &Rig, others: usize) {
    for _ in 0..5 {
        die_of_one(model).await;
    }
    handle(rig, &Told::default()).await;
    let letter = rig.take("notifications.info.dead").await;
    assert_eq!(letter.properties.headers.text("listener-reason"), Some("poison"));
    for _ in 0..others {
        rig.notifier().info(&Context::new(), "x", &"other").await.unwrap();
    }
    rig.put_with("notifications.info", letter.body, letter.properties).await;
}

/// A process that works on one at a time, and stops in order.
async fn work_on_one_and_stop(model: &Model, rig: &Rig, after: Duration) {
    let process = model.process();
    let builder = rig.builder().transport(Transport::new(process.clone(), "stops"));
    let builder = builder.shutdown_timeout(Duration::ZERO).executor(Executor::Concurrent(1));
    let listener = builder.endpoint(hangs()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(after).await;
    finish(&listener).await;
    process.kill();
}

#[tokio::test(start_paused = true)]
async fn a_letter_put_back_is_handled_though_its_first_process_stops_before_it_begins_it() {
    let (model, mut rig) = one_healthy().await;
    put_back(&model, &rig, 1).await;
    work_on_one_and_stop(&model, &rig, 60 * SECOND).await;
    let told = Told::default();
    handle(&rig, &told).await;
    assert_eq!(rig.seen_so_far(), ["other", "healthy"], "{:?}", told.so_far());
    assert_eq!(told.so_far(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_put_back_is_handled_though_its_first_process_stops_at_once() {
    let (model, mut rig) = one_healthy().await;
    put_back(&model, &rig, 0).await;
    work_on_one_and_stop(&model, &rig, SECOND / 2).await;
    let told = Told::default();
    handle(&rig, &told).await;
    assert_eq!(rig.seen_so_far(), ["healthy"], "{:?}", told.so_far());
    assert_eq!(told.so_far(), [""; 0]);
}

/// Old evidence does not count, also not for the copies of a letter that was put back.
#[tokio::test(start_paused = true)]
async fn a_letter_put_back_is_given_up_after_as_many_deaths_as_before() {
    let (model, mut rig) = one_healthy().await;
    put_back(&model, &rig, 0).await;
    for deaths in 0..5 {
        die_of_one(&model).await;
        assert_eq!(model.depths()["notifications.info.dead"], 0, "after {deaths} deaths");
    }
    let told = Told::default();
    handle(&rig, &told).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    assert_eq!(told.so_far(), ["dead letter: poison"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_stays_in_quarantine_while_dead_letters_find_no_place() {
    let (model, mut rig) = one_healthy().await;
    for _ in 0..5 {
        die_of_one(&model).await;
    }
    model.change(|conditions| conditions.dead_letters_full = true);
    let listener = rig.builder().endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    for _ in 0..12 {
        tokio::time::sleep(600 * SECOND).await;
        let health = listener.health();
        let held = health.queues.iter().filter_map(|queue| queue.oldest).max();
        assert!(held.is_some_and(|held| held <= 960 * SECOND), "{held:?}");
    }
    model.change(|conditions| *conditions = Conditions::default());
    tokio::time::sleep(60 * SECOND).await;
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    let left: Vec<_> = model.depths().into_iter().filter(|(_, depth)| *depth > 0).collect();
    assert_eq!(left, [("notifications.info.dead".to_owned(), 1)]);
}

/// Whoever may publish writes headers of a dead letter on an equal body.
#[tokio::test(start_paused = true)]
async fn no_publisher_withdraws_evidence() {
    let (model, mut rig) = one_healthy().await;
    for _ in 0..5 {
        die_of_one(&model).await;
    }
    let suspect = rig.take("notifications.info.quarantine").await;
    let mut letter = suspect.properties.clone();
    letter.headers.set("listener-reason", "poison".into());
    rig.put_with("notifications.info", suspect.body.clone(), letter).await;
    handle(&rig, &Told::default()).await;
    assert_eq!(rig.seen_so_far(), ["healthy"], "the publisher's");
    rig.put_with("notifications.info.quarantine", suspect.body, suspect.properties).await;
    let told = Told::default();
    handle(&rig, &told).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    assert_eq!(told.so_far(), ["dead letter: poison"]);
}

/// A process works on what it could not record for all it knows, and lives on; its session ends.
#[tokio::test(start_paused = true)]
async fn a_record_whose_confirmation_was_lost_is_no_death() {
    let (model, rig) = one_healthy().await;
    // An orderly stop, so that it is redelivered.
    work_and_stop(&rig, model.process(), Book::Works).await;
    let told = Told::default();
    let one = start(&rig, model.process(), &book(Book::Unconfirmed), &told).await;
    tokio::time::sleep(60 * SECOND).await;
    let two = start(&rig, model.process(), &book(Book::Works), &told).await;
    tokio::time::sleep(20 * SECOND).await;
    model.cancel(0);
    tokio::time::sleep(60 * SECOND).await;
    assert!(one.is_ready() && two.is_ready());
    assert_eq!(told.so_far(), [""; 0], "nobody died");
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_recorded_though_the_journal_was_away_a_moment_before() {
    for trouble in [Book::Away, Book::Refused] {
        let (model, rig) = one_healthy().await;
        work_and_stop(&rig, model.process(), Book::Works).await;
        let (its, process, told) = (book(Book::Works), model.process(), Told::default());
        let one = start(&rig, process.clone(), &its, &told).await;
        tokio::time::sleep(20 * SECOND).await;
        *its.lock().unwrap() = trouble;
        model.lose_connections("a test");
        tokio::time::sleep(4 * SECOND).await;
        *its.lock().unwrap() = Book::Works;
        finish(&one).await;
        // It has stopped in order; now the process is gone.
        process.kill();
        let two = start(&rig, model.process(), &book(Book::Works), &told).await;
        tokio::time::sleep(60 * SECOND).await;
        finish(&two).await;
        assert_eq!(told.so_far(), [""; 0], "nobody died: {trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_be_recorded_is_told_in_the_log() {
    for (trouble, is_told) in [(Book::Away, true), (Book::Refused, true), (Book::Works, false)] {
        let (model, rig) = one_healthy().await;
        work_and_stop(&rig, model.process(), Book::Works).await;
        let buffer = crate::logging::Buffer::default();
        let _guard = buffer.set();
        let its = book(Book::Works);
        let listener = start(&rig, model.process(), &its, &Told::default()).await;
        tokio::time::sleep(20 * SECOND).await;
        *its.lock().unwrap() = trouble;
        finish(&listener).await;
        let text = buffer.text();
        assert_eq!(text.contains("the stop could not be recorded"), is_told, "{trouble:?} {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_takes_long_to_record_holds_up_no_other_delivery() {
    let (model, mut rig) = one_healthy().await;
    work_and_stop(&rig, model.process(), Book::Works).await;
    let (process, book, appended) = (model.process(), book(Book::Slow), Arc::default());
    let transport = Transport::new(Recording { process, book, appended }, "slow to record");
    let builder = rig.builder().transport(transport).executor(Executor::Concurrent(1));
    let listener = builder.endpoint(Logs).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &"other").await.unwrap();
    assert_eq!([rig.seen().await, rig.seen().await], ["other", "healthy"]);
    finish(&listener).await;
}

/// How many are called at once, and the most that were.
#[derive(Clone, Default)]
struct AtOnce(Arc<Mutex<(u32, u32)>>);

#[notification_endpoint(register = false)]
impl AtOnce {
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
async fn suspects_that_take_long_to_record_are_called_no_more_at_once_than_others() {
    let (model, rig) = one_healthy().await;
    rig.notifier().info(&Context::new(), "x", &"another").await.unwrap();
    work_and_stop(&rig, model.process(), Book::Works).await;
    let (process, book, appended) = (model.process(), book(Book::Slow), Arc::default());
    let transport = Transport::new(Recording { process, book, appended }, "slow to record");
    let builder = rig.builder().transport(transport).executor(Executor::Concurrent(1));
    let calls = AtOnce::default();
    let listener = builder.endpoint(calls.clone()).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(200 * SECOND).await;
    finish(&listener).await;
    assert_eq!(*calls.0.lock().unwrap(), (0, 1));
    assert!(model.depths().into_values().all(|depth| depth == 0), "{:?}", model.depths());
}

/// The session of a process ends while its journal is away; the journal is back before others
/// decide.
#[tokio::test(start_paused = true)]
async fn a_session_that_ended_while_the_journal_was_away_is_no_death() {
    let (model, rig) = one_healthy().await;
    work_and_stop(&rig, model.process(), Book::Works).await;
    let (told, its) = (Told::default(), book(Book::Works));
    let one = start(&rig, model.process(), &its, &told).await;
    tokio::time::sleep(20 * SECOND).await;
    let two = start(&rig, model.process(), &book(Book::Works), &told).await;
    *its.lock().unwrap() = Book::Away;
    model.cancel(0);
    tokio::time::sleep(3 * SECOND / 2).await;
    *its.lock().unwrap() = Book::Works;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(told.so_far(), [""; 0], "nobody died");
    finish(&one).await;
    finish(&two).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_recorded_once_a_stop_was_waited_for() {
    for last in [Book::Works, Book::Away] {
        let (model, rig) = one_healthy().await;
        work_and_stop(&rig, model.process(), Book::Works).await;
        let (process, its, appended) = (model.process(), book(Book::Works), Arc::default());
        let driver = Recording { process, book: Arc::clone(&its), appended: Arc::clone(&appended) };
        let builder = rig.builder().transport(Transport::new(driver, "recording"));
        let builder = builder.shutdown_timeout(Duration::ZERO).endpoint(Logs);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        tokio::time::sleep(SECOND / 2).await;
        *its.lock().unwrap() = last;
        finish(&listener).await;
        let before = appended.load(Ordering::SeqCst);
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(appended.load(Ordering::SeqCst), before, "{last:?}");
    }
}
