//! A process crashes before or after each single step of handling a notification that kills every process:
//! each record, copy and settlement. Whatever the step, the notification ends as a dead letter, its
//! neighbours are handled, and the number of copies is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::driver::{ConnectError, JournalError, SendError, SettleError};
use listener::driver::{Delivery, Settle, Settlement, Settler};
use listener::driver::{Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription};
use listener::options::{Executor, RetryOptions, RetryStorage};
use listener::testing::{Model, Process};
use listener::{Attempt, Context, Listener, Outcome, State, Transport, notification_endpoint};
use tokio::sync::{Semaphore, mpsc};

use crate::rig::{Log, Rig, once, one_of};

/// Whether the process crashes before or after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// A process that crashes at a given step.
#[derive(Clone)]
pub(crate) struct Mortal {
    process: Process,
    /// The number of the step, and before or after it; `None`: it crashes at no step.
    fate: Option<(u64, When)>,
    steps: Arc<AtomicU64>,
    crash: mpsc::UnboundedSender<()>,
}

impl Mortal {
    /// A process, and a channel that receives its crash.
    pub(crate) fn new(
        process: Process,
        fate: Option<(u64, When)>,
    ) -> (Self, mpsc::UnboundedReceiver<()>) {
        let (crash, crashed) = mpsc::unbounded_channel();
        (Self { process, fate, steps: Arc::default(), crash }, crashed)
    }

    /// How many steps it has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    fn die(&self) {
        self.process.kill();
        let _ = self.crash.send(());
    }

    /// Whether this step is the last one.
    fn crash_at_this_step(&self) -> Option<When> {
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        self.fate.filter(|(last, _)| *last == step).map(|(_, when)| when)
    }

    async fn step<T>(&self, done: impl Future<Output = T>) -> T {
        let last = self.crash_at_this_step();
        if last == Some(When::Before) {
            self.die();
        }
        // A dead process has no effect any more.
        let done = done.await;
        if last == Some(When::After) {
            self.die();
            std::future::pending::<()>().await;
        }
        done
    }
}

impl Driver for Mortal {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        async move {
            let Subscribed { mut deliveries, consumer, demand, .. } =
                self.process.subscribe(subscription).await?;
            let (sender, receiver) = mpsc::unbounded_channel();
            let settles =
                Arc::new(SettlesThrough { mortal: self.clone(), gated: Mutex::default() });
            tokio::spawn(async move {
                while let Some(delivery) = deliveries.recv().await {
                    let _ = sender.send(settles.hold(delivery));
                }
            });
            Ok(Subscribed::new(receiver, consumer, demand))
        }
        .boxed()
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        self.step(self.process.send(outgoing)).boxed()
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        self.step(self.process.journal(append)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.process.close()
    }
}

/// Settles through the process while that lives.
struct SettlesThrough {
    mortal: Mortal,
    gated: Mutex<BTreeMap<u64, Delivery>>,
}

impl SettlesThrough {
    fn hold(self: &Arc<Self>, delivery: Delivery) -> Delivery {
        let (body, properties, info) =
            (delivery.body.clone(), delivery.properties.clone(), delivery.info.clone());
        let mut gated = self.gated.lock().unwrap();
        let tag = gated.last_key_value().map_or(0, |(last, _)| last + 1);
        gated.insert(tag, delivery);
        Delivery::new(body, properties, info, Settlement::new(Arc::clone(self) as _, tag))
    }
}

impl Settler for SettlesThrough {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        let last = self.mortal.crash_at_this_step();
        if last == Some(When::Before) {
            self.mortal.die();
        }
        let delivery = self.gated.lock().unwrap().remove(&tag).ok_or(SettleError)?;
        let settled = delivery.settle(settle);
        if last == Some(When::After) {
            self.mortal.die();
        }
        settled
    }

    fn is_over(&self) -> bool {
        self.gated.lock().unwrap().values().next().is_some_and(Delivery::is_over)
    }
}

/// Ends its process for the payload "poison".
struct Dies(Mortal);

#[notification_endpoint(register = false)]
impl Dies {
    async fn info(&self, payload: &str, log: State<Log>) {
        let _ = log.send(payload.to_owned());
        if payload == "poison" {
            self.0.die();
            std::future::pending::<()>().await;
        }
    }
}

/// Runs one process. Returns whether it crashed, and how many steps it took.
async fn run_process(model: &Model, log: &Log, fate: Option<(u64, When)>) -> (bool, u64) {
    let (mortal, mut crashed) = Mortal::new(model.process(), fate);
    let builder = Listener::builder().transport(Transport::new(mortal.clone(), "mortal"));
    let listener = builder.state(log.clone()).endpoint(Dies(mortal.clone())).build().unwrap();
    listener.start().await.unwrap();
    let crashed = tokio::time::timeout(Duration::from_secs(3600), crashed.recv()).await.is_ok();
    listener.stop().await;
    listener.wait().await.unwrap();
    (crashed, mortal.taken())
}

/// Runs processes one after the other; the one with this number crashes at a step, unless it ends before.
/// Returns how many steps that process took.
async fn dies_once(number: usize, step: u64, when: When) -> u64 {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    for payload in ["one", "poison", "two"] {
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    }
    let (mut lives, mut crashes, mut steps) = (0, 0, 0);
    loop {
        let fate = (lives == number).then_some((step, when));
        let (crashed, took) = run_process(&model, &rig.log(), fate).await;
        steps += if lives == number { took } else { 0 };
        if !crashed {
            break;
        }
        lives += 1;
        crashes += 1;
        assert!(crashes < 12, "process {number} at {step} {when:?}: it is never given up");
    }
    let seen = rig.seen_so_far();
    let context =
        format!("process {number} crashes {when:?} step {step}: {seen:?}, {:?}", model.depths());
    for neighbour in ["one", "two"] {
        assert!(seen.iter().any(|payload| payload == neighbour), "{context}");
    }
    let called = seen.iter().filter(|payload| *payload == "poison").count();
    assert!(called <= 5, "{context}");
    let depths = model.depths();
    let dead = depths.get("notifications.info.dead").copied().unwrap_or_default();
    // One for the notification, and one more if the crash left an extra copy.
    assert!((1..=2).contains(&dead), "{context}");
    assert!(
        depths.iter().all(|(queue, depth)| queue.ends_with(".dead") || *depth == 0),
        "{context}"
    );
    steps
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_leaves_at_most_one_extra_copy() {
    for when in [When::Before, When::After] {
        for number in 0..7 {
            let mut step = 0;
            while step <= dies_once(number, step, when).await {
                step += 1;
            }
            assert!(step > 0, "process {number} took no step");
        }
    }
}

/// A process whose copies are sent and whose settlements are flushed only with permits of the test.
struct Gated {
    process: Process,
    copies: Arc<Semaphore>,
    flushes: Arc<Semaphore>,
}

impl Driver for Gated {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        async move {
            let Subscribed { mut deliveries, consumer, demand, .. } =
                self.process.subscribe(subscription).await?;
            let (sender, receiver) = mpsc::unbounded_channel();
            let flushes = Arc::clone(&self.flushes);
            tokio::spawn(async move {
                while let Some(delivery) = deliveries.recv().await {
                    let (body, properties, info) =
                        (delivery.body.clone(), delivery.properties.clone(), delivery.info.clone());
                    let one = Flushed {
                        delivery: Mutex::new(Some(delivery)),
                        flushes: Arc::clone(&flushes),
                    };
                    let settlement = Settlement::new(Arc::new(one), 0);
                    let _ = sender.send(Delivery::new(body, properties, info, settlement));
                }
            });
            Ok(Subscribed::new(receiver, consumer, demand))
        }
        .boxed()
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        async move {
            self.copies.acquire().await.unwrap().forget();
            self.process.send(outgoing).await
        }
        .boxed()
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        self.process.journal(append)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.process.close()
    }
}

struct Flushed {
    delivery: Mutex<Option<Delivery>>,
    flushes: Arc<Semaphore>,
}

impl Settler for Flushed {
    fn settle(&self, _: u64, settle: Settle) -> Result<(), SettleError> {
        let delivery = self.delivery.lock().unwrap().take().ok_or(SettleError)?;
        delivery.settle(settle)
    }

    fn is_over(&self) -> bool {
        false
    }

    fn flush(&self) -> BoxFuture<'static, ()> {
        let flushes = Arc::clone(&self.flushes);
        async move { flushes.acquire().await.unwrap().forget() }.boxed()
    }
}

struct Logs;

#[notification_endpoint(register = false)]
impl Logs {
    async fn info(&self, payload: &str, log: State<Log>) {
        let _ = log.send(payload.to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn no_method_begins_while_a_suspect_is_being_quarantined() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..2 {
        assert!(run_process(&model, &rig.log(), None).await.0, "the poison did not kill it");
    }
    rig.seen_so_far();
    let (copies, flushes) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gated = Gated {
        process: model.process(),
        copies: Arc::clone(&copies),
        flushes: Arc::clone(&flushes),
    };
    let builder = rig.builder_on(Transport::new(gated, "gated")).endpoint(Logs);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    // After the grace period in which other processes report that they are alive.
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.notifier().info(&Context::new(), "x", &"neighbour").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "the copy is not confirmed");
    copies.add_permits(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "the acknowledgement is not processed");
    flushes.add_permits(1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, ["neighbour", "poison"]);
    listener.stop().await;
    listener.wait().await.unwrap();
}

/// Takes eight seconds for the payload "walk".
struct TakesTime;

#[notification_endpoint(register = false, order = 1)]
impl TakesTime {
    async fn info(&self, payload: &str) {
        if payload == "walk" {
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
    }
}

/// Asks for one retry for the payload "again".
struct AsksAgain;

#[notification_endpoint(register = false, order = 2)]
impl AsksAgain {
    async fn info(&self, payload: &str, attempt: Attempt, log: State<Log>) -> Outcome {
        let _ = log.send(format!("{payload} {}", attempt.0));
        if payload == "again" && attempt.0 == 1 {
            return Outcome::retry_after(Duration::from_secs(8));
        }
        Outcome::Handled
    }
}

/// This includes deliveries that were begun before: neither their next method runs nor a held retry.
#[tokio::test(start_paused = true)]
async fn no_begun_delivery_goes_on_while_a_suspect_is_being_quarantined() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..2 {
        assert!(run_process(&model, &rig.log(), None).await.0, "the poison did not kill it");
    }
    rig.seen_so_far();
    let (copies, flushes) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gated = Gated {
        process: model.process(),
        copies: Arc::clone(&copies),
        flushes: Arc::clone(&flushes),
    };
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let builder = rig.builder_on(Transport::new(gated, "gated")).retry(retry);
    let listener = builder.endpoint(TakesTime).endpoint(AsksAgain).build().unwrap();
    listener.start().await.unwrap();
    for payload in ["walk", "again"] {
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["again 1"]);
    // The suspect is moved after the grace period in which other processes report that they are alive.
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "the copy is not confirmed");
    copies.add_permits(1);
    flushes.add_permits(1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, ["again 2", "poison 1", "walk 1"]);
    listener.stop().await;
    listener.wait().await.unwrap();
}

/// No other method begins before it is handled, also not the next one of a delivery that has a slot.
#[tokio::test(start_paused = true)]
async fn the_last_attempt_at_a_suspect_runs_while_no_other_method_does() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..4 {
        assert!(run_process(&model, &rig.log(), None).await.0, "the poison did not kill it");
    }
    rig.seen_so_far();
    for _ in 0..3 {
        rig.notifier().info(&Context::new(), "x", &"walk").await.unwrap();
    }
    let builder = rig.builder_on(Transport::new(model.process(), "model"));
    let builder = builder.executor(Executor::Concurrent(8));
    let listener = builder.endpoint(TakesTime).endpoint(AsksAgain).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "it was called among others");
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.seen_so_far(), ["poison 1", "walk 1", "walk 1", "walk 1"]);
    listener.stop().await;
    listener.wait().await.unwrap();
    assert!(model.depths().values().all(|depth| *depth == 0), "{:?}", model.depths());
}

/// A plain `fn` that keeps running after its timeout.
struct KeepsRunning(Mutex<std::sync::mpsc::Receiver<()>>);

#[notification_endpoint(register = false, order = 1)]
impl KeepsRunning {
    fn info(&self, payload: String, log: State<Log>) {
        if payload == "keeps running" {
            let _ = log.send("keeps running".to_owned());
            let _ = self.0.lock().unwrap().recv();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_at_a_suspect_waits_for_timed_out_plain_fns() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..4 {
        assert!(run_process(&model, &rig.log(), None).await.0, "the poison did not kill it");
    }
    rig.seen_so_far();
    let holder = model.process();
    let gated = Transport::new(holder.clone(), "holder");
    let mut gated = gated.subscribe(one_of("notifications.info.quarantine")).await.unwrap();
    let _poison = gated.deliveries.recv().await.unwrap();
    // The paused clock does not advance while a plain `fn` runs.
    tokio::time::resume();
    rig.notifier().info(&Context::new(), "x", &"keeps running").await.unwrap();
    let (release, keeps_running) = std::sync::mpsc::channel();
    let builder = rig.builder_on(Transport::new(model.process(), "model"));
    let builder = builder.executor(Executor::Concurrent(8)).retry(once());
    let builder = builder.handler_timeout(Duration::from_millis(100));
    let listener =
        builder.endpoint(KeepsRunning(keeps_running.into())).endpoint(AsksAgain).build().unwrap();
    listener.start().await.unwrap();
    assert_eq!(rig.seen().await, "keeps running");
    // It timed out: the next method is called.
    assert_eq!(rig.seen().await, "keeps running 1");
    holder.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    release.send(()).unwrap();
    assert_eq!(rig.seen().await, "poison 1");
    listener.stop().await;
    listener.wait().await.unwrap();
}
