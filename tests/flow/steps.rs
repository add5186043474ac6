//! A process dies before or after each single step that it takes on the way of a notification that
//! kills every process: each record, copy and settlement. Whatever the step, the notification ends
//! as a dead letter, its neighbours are handled, and what results is bounded by the deaths.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::driver::{ConnectError, JournalError, SendError, SettleError};
use listener::driver::{Delivery, Settle, Settlement, Settler};
use listener::driver::{Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription};
use listener::options::{Executor, RetryOptions, RetryPlace};
use listener::testing::{Model, Process};
use listener::{Attempt, Context, Listener, Outcome, State, Transport, notification_endpoint};
use tokio::sync::{Semaphore, mpsc};

use crate::rig::{Log, Rig, once, one_of};

/// When the process dies of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// A process that dies at a step.
#[derive(Clone)]
pub(crate) struct Mortal {
    process: Process,
    /// The number of the step, and when; `None`: it dies of no step.
    fate: Option<(u64, When)>,
    steps: Arc<AtomicU64>,
    death: mpsc::UnboundedSender<()>,
}

impl Mortal {
    /// A process, and the signal that it died.
    pub(crate) fn new(
        process: Process,
        fate: Option<(u64, When)>,
    ) -> (Self, mpsc::UnboundedReceiver<()>) {
        let (death, died) = mpsc::unbounded_channel();
        (Self { process, fate, steps: Arc::default(), death }, died)
    }

    /// How many steps it has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    fn die(&self) {
        self.process.kill();
        let _ = self.death.send(());
    }

    /// Whether this step is the last one.
    fn is_last(&self) -> Option<When> {
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        self.fate.filter(|(last, _)| *last == step).map(|(_, when)| when)
    }

    async fn step<T>(&self, done: impl Future<Output = T>) -> T {
        let last = self.is_last();
        if last == Some(When::Before) {
            self.die();
        }
        // Of a dead process nothing comes.
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
            let settles = Arc::new(Settles { mortal: self.clone(), held: Mutex::default() });
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

/// Settles as the process does, for as long as that lives.
struct Settles {
    mortal: Mortal,
    held: Mutex<BTreeMap<u64, Delivery>>,
}

impl Settles {
    fn hold(self: &Arc<Self>, delivery: Delivery) -> Delivery {
        let (body, properties, info) =
            (delivery.body.clone(), delivery.properties.clone(), delivery.info.clone());
        let mut held = self.held.lock().unwrap();
        let tag = held.last_key_value().map_or(0, |(last, _)| last + 1);
        held.insert(tag, delivery);
        Delivery::new(body, properties, info, Settlement::new(Arc::clone(self) as _, tag))
    }
}

impl Settler for Settles {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        let last = self.mortal.is_last();
        if last == Some(When::Before) {
            self.mortal.die();
        }
        let delivery = self.held.lock().unwrap().remove(&tag).ok_or(SettleError)?;
        let settled = delivery.settle(settle);
        if last == Some(When::After) {
            self.mortal.die();
        }
        settled
    }

    fn is_over(&self) -> bool {
        self.held.lock().unwrap().values().next().is_some_and(Delivery::is_over)
    }
}

/// Ends its process at the payload "poison".
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

/// One life. Whether it died, and how many steps it took.
async fn live(model: &Model, log: &Log, fate: Option<(u64, When)>) -> (bool, u64) {
    let (mortal, mut died) = Mortal::new(model.process(), fate);
    let builder = Listener::builder().transport(Transport::new(mortal.clone(), "mortal"));
    let listener = builder.state(log.clone()).endpoint(Dies(mortal.clone())).build().unwrap();
    listener.start().await.unwrap();
    let died = tokio::time::timeout(Duration::from_secs(3600), died.recv()).await.is_ok();
    listener.stop().await;
    listener.wait().await.unwrap();
    (died, mortal.taken())
}

/// Of several lives the one with this number dies of a step, unless it comes to its end before.
/// How many steps that life took.
async fn dies_once(number: usize, step: u64, when: When) -> u64 {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    for payload in ["one", "poison", "two"] {
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    }
    let (mut lives, mut deaths, mut steps) = (0, 0, 0);
    loop {
        let fate = (lives == number).then_some((step, when));
        let (died, took) = live(&model, &rig.log(), fate).await;
        steps += if lives == number { took } else { 0 };
        if !died {
            break;
        }
        lives += 1;
        deaths += 1;
        assert!(deaths < 12, "life {number} at {step} {when:?}: it is never given up");
    }
    let seen = rig.seen_so_far();
    let case = format!("life {number} dies {when:?} step {step}: {seen:?}, {:?}", model.depths());
    for neighbour in ["one", "two"] {
        assert!(seen.iter().any(|payload| payload == neighbour), "{case}");
    }
    let called = seen.iter().filter(|payload| *payload == "poison").count();
    assert!(called <= 5, "{case}");
    let depths = model.depths();
    let dead = depths.get("notifications.info.dead").copied().unwrap_or_default();
    // One for the notification, and one more where the death left a copy too many.
    assert!((1..=2).contains(&dead), "{case}");
    assert!(depths.iter().all(|(queue, depth)| queue.ends_with(".dead") || *depth == 0), "{case}");
    steps
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_step_leaves_one_copy_too_many_at_most() {
    for when in [When::Before, When::After] {
        for number in 0..7 {
            let mut step = 0;
            while step <= dies_once(number, step, when).await {
                step += 1;
            }
            assert!(step > 0, "life {number} took no step");
        }
    }
}

/// A process whose copies and whose settlements are not known to be processed until it is said.
struct Held {
    process: Process,
    copies: Arc<Semaphore>,
    flushes: Arc<Semaphore>,
}

impl Driver for Held {
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
async fn no_method_begins_while_a_suspect_is_on_its_way() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..2 {
        assert!(live(&model, &rig.log(), None).await.0, "it dies of the poison");
    }
    rig.seen_so_far();
    let (copies, flushes) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Held {
        process: model.process(),
        copies: Arc::clone(&copies),
        flushes: Arc::clone(&flushes),
    };
    let builder = rig.builder().transport(Transport::new(held, "held")).endpoint(Logs);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    // Past the grace that others have to say that they live.
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

/// Takes its time for the payload "walk".
struct TakesTime;

#[notification_endpoint(register = false, order = 1)]
impl TakesTime {
    async fn info(&self, payload: &str) {
        if payload == "walk" {
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
    }
}

/// Asks for another call for the payload "again".
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

/// Also of deliveries that were begun before: neither their next method nor a retry that is held.
#[tokio::test(start_paused = true)]
async fn no_further_method_begins_while_a_suspect_is_on_its_way() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..2 {
        assert!(live(&model, &rig.log(), None).await.0, "it dies of the poison");
    }
    rig.seen_so_far();
    let (copies, flushes) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Held {
        process: model.process(),
        copies: Arc::clone(&copies),
        flushes: Arc::clone(&flushes),
    };
    let retry = RetryOptions::default().place(RetryPlace::Process);
    let builder = rig.builder().transport(Transport::new(held, "held")).retry(retry);
    let listener = builder.endpoint(TakesTime).endpoint(AsksAgain).build().unwrap();
    listener.start().await.unwrap();
    for payload in ["walk", "again"] {
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["again 1"]);
    // The suspect is moved after the grace that others have to say that they live.
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

/// Nobody else's method begins before it is handled, though some have slots and are between two.
#[tokio::test(start_paused = true)]
async fn for_the_last_time_a_suspect_is_called_when_no_other_method_is() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..4 {
        assert!(live(&model, &rig.log(), None).await.0, "it dies of the poison");
    }
    rig.seen_so_far();
    for _ in 0..3 {
        rig.notifier().info(&Context::new(), "x", &"walk").await.unwrap();
    }
    let builder = rig.builder().transport(Transport::new(model.process(), "model"));
    let builder = builder.executor(Executor::Concurrent(8));
    let listener = builder.endpoint(TakesTime).endpoint(AsksAgain).build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(rig.seen_so_far(), [""; 0], "others are called");
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.seen_so_far(), ["poison 1", "walk 1", "walk 1", "walk 1"]);
    listener.stop().await;
    listener.wait().await.unwrap();
    assert!(model.depths().values().all(|depth| *depth == 0), "{:?}", model.depths());
}

/// A plain `fn` that runs on when its time is over.
struct Stays(Mutex<std::sync::mpsc::Receiver<()>>);

#[notification_endpoint(register = false, order = 1)]
impl Stays {
    fn info(&self, payload: String, log: State<Log>) {
        if payload == "stays" {
            let _ = log.send("stays".to_owned());
            let _ = self.0.lock().unwrap().recv();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn for_the_last_time_a_suspect_is_called_when_no_plain_fn_runs_that_was_given_up() {
    let model = Model::new(1);
    let mut rig = Rig::on(Transport::new(model.process(), "model"));
    rig.notifier().info(&Context::new(), "x", &"poison").await.unwrap();
    for _ in 0..4 {
        assert!(live(&model, &rig.log(), None).await.0, "it dies of the poison");
    }
    rig.seen_so_far();
    let holder = model.process();
    let held = Transport::new(holder.clone(), "holder");
    let mut held = held.subscribe(one_of("notifications.info.quarantine")).await.unwrap();
    let _poison = held.deliveries.recv().await.unwrap();
    // The clock does not go on by itself while a plain `fn` runs.
    tokio::time::resume();
    rig.notifier().info(&Context::new(), "x", &"stays").await.unwrap();
    let (release, stays) = std::sync::mpsc::channel();
    let builder = rig.builder().transport(Transport::new(model.process(), "model"));
    let builder = builder.executor(Executor::Concurrent(8)).retry(once());
    let builder = builder.handler_timeout(Duration::from_millis(100));
    let listener = builder.endpoint(Stays(stays.into())).endpoint(AsksAgain).build().unwrap();
    listener.start().await.unwrap();
    assert_eq!(rig.seen().await, "stays");
    // Its time is over: the next one is called.
    assert_eq!(rig.seen().await, "stays 1");
    holder.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    release.send(()).unwrap();
    assert_eq!(rig.seen().await, "poison 1");
    listener.stop().await;
    listener.wait().await.unwrap();
}
