//! A delivery that only waits holds no slot: for a paused method, for a retry in the process, for a slow
//! confirm. In each test 200 deliveries wait, more than there are slots, and a healthy method of the
//! same priority is still called.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use listener::ListenerBuilder;
use listener::driver::{
    Binding, Driver, JournalAppend, JournalRead, Outgoing, Route, Subscribed, Subscription,
};
use listener::driver::{ConnectError, JournalError, SendError};
use listener::observe::{Event, Observer};
use listener::options::Executor;
use listener::options::{ListenerOptions, RetryOptions, RetryStorage};
use listener::{Context, Outcome, State, Transport, notification_endpoint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::health::full;
use crate::rig::{Log, Rig, finish, once};
use crate::sending::sending;

const MANY: u32 = 200;

/// Gives up the payload 0.
struct Compute;

#[notification_endpoint(register = false, name = "compute", order = 1, event_type = "compute")]
impl Compute {
    async fn info(&self, payload: u32, log: State<Log>) -> Outcome {
        let _ = log.send(format!("compute {payload}"));
        if payload == 0 { Outcome::dead_letter("zero") } else { Outcome::Handled }
    }
}

/// Asks for a retry after a minute.
struct RetriesLater;

#[notification_endpoint(register = false, name = "again", order = 1, event_type = "compute")]
impl RetriesLater {
    async fn info(&self) -> Outcome {
        Outcome::retry_after(Duration::from_secs(60))
    }
}

/// Handles its event types.
struct Volume;

#[notification_endpoint(register = false, name = "volume", order = 2, event_type = "volume|both")]
impl Volume {
    async fn info(&self, event_type: &str, log: State<Log>) {
        let _ = log.send(event_type.to_owned());
    }
}

/// Handles everything.
struct All;

#[notification_endpoint(register = false, name = "all", order = 3)]
impl All {
    async fn info(&self, payload: u32, log: State<Log>) {
        let _ = log.send(format!("all {payload}"));
    }
}

async fn send(rig: &Rig, event_type: &str, payload: u32) {
    rig.notifier().info(&Context::new(), event_type, &payload).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_method_does_not_delay_other_methods() {
    let mut rig = Rig::new();
    let is_full = Arc::new(AtomicBool::new(true));
    let full_queues = full(&rig.transport, &is_full);
    let builder = rig.builder_on(full_queues).retry(once());
    let listener = builder.endpoint(Compute).endpoint(Volume).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "compute", 0).await;
    assert_eq!(rig.seen().await, "compute 0");
    for number in 1..=MANY {
        send(&rig, "compute", number).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    send(&rig, "volume", 0).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.seen_so_far(), ["volume"]);
    is_full.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    let mut expected: Vec<_> = (1..=MANY).map(|number| format!("compute {number}")).collect();
    expected.sort();
    assert_eq!(seen, expected, "each is called exactly once after the delay");
    assert_eq!(rig.dead_letter().await.methods, "compute::info");
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn the_other_methods_of_a_notification_do_not_wait_for_a_paused_one() {
    let mut rig = Rig::new();
    let is_full = Arc::new(AtomicBool::new(true));
    let full_queues = full(&rig.transport, &is_full);
    let builder = rig.builder_on(full_queues).retry(once());
    let listener = builder.endpoint(Compute).endpoint(All).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "compute", 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    send(&rig, "compute", 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["compute 0", "all 0", "all 1"]);
    is_full.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.seen_so_far(), ["compute 1"], "no method is called a second time");
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn deliveries_waiting_for_a_paused_method_are_released_at_a_stop() {
    let mut rig = Rig::new();
    let is_full = Arc::new(AtomicBool::new(true));
    let full_queues = full(&rig.transport, &is_full);
    let builder = rig.builder_on(full_queues).retry(once());
    let listener = builder.endpoint(Compute).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "compute", 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 1..=MANY {
        send(&rig, "compute", number).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    listener.stop().await;
    listener.wait().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(rig.seen_so_far(), ["compute 0"]);
    for _ in 0..=MANY {
        rig.take("notifications.info").await;
    }
    rig.assert_empty("notifications.info").await;
}

/// The calls before and after a stop, with full dead-letter queues before it.
async fn seen_around_a_stop(set: impl Fn(ListenerBuilder) -> ListenerBuilder) -> [Vec<String>; 2] {
    let mut rig = Rig::new();
    let is_full = Arc::new(AtomicBool::new(true));
    let full_queues = full(&rig.transport, &is_full);
    let builder = set(rig.builder_on(full_queues)).endpoint(All);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    for number in 0..2 {
        send(&rig, "compute", number).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    listener.stop().await;
    listener.wait().await.unwrap();
    let before = rig.seen_so_far();
    is_full.store(false, Ordering::SeqCst);
    listener.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    finish(&listener).await;
    let mut after = rig.seen_so_far();
    after.sort();
    [before, after]
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_only_the_pending_methods_are_called() {
    let [before, after] = seen_around_a_stop(|builder| builder.endpoint(Compute)).await;
    assert_eq!(before, ["compute 0", "all 0", "all 1"]);
    assert_eq!(after, ["compute 0", "compute 1"], "the pending methods");
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let set = |builder: ListenerBuilder| builder.retry(retry.clone()).endpoint(RetriesLater);
    let [before, after] = seen_around_a_stop(set).await;
    assert_eq!(before, ["all 0", "all 1"]);
    assert_eq!(after, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn waiting_deliveries_are_bounded_by_the_prefetch() {
    let rig = Rig::new();
    let full_queues = full(&rig.transport, &Arc::new(AtomicBool::new(true)));
    let options = ListenerOptions::default().prefetch(100).retry(once());
    let builder = rig.builder_on(full_queues).options(options);
    let listener = builder.endpoint(Compute).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..=MANY {
        send(&rig, "compute", number).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let health = listener.health();
    assert_eq!(health.queues[0].in_flight, 100);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_the_process_does_not_delay_other_deliveries() {
    let mut rig = Rig::new();
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let listener =
        rig.builder().retry(retry).endpoint(RetriesLater).endpoint(Volume).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..MANY {
        send(&rig, "compute", number).await;
    }
    send(&rig, "volume", 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["volume"]);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn with_one_slot_a_pause_in_the_process_does_not_delay_other_deliveries() {
    let mut rig = Rig::new();
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let builder = rig.builder().retry(retry).executor(Executor::Concurrent(1));
    let listener = builder.endpoint(RetriesLater).endpoint(Volume).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "compute", 0).await;
    send(&rig, "volume", 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["volume"]);
    finish(&listener).await;
}

/// A transport that confirms each copy after a minute.
fn unconfirmed(below: &Transport) -> Transport {
    sending(below, |below, outgoing| async move {
        if !matches!(outgoing.route, Route::Topic { .. }) {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        below.send(outgoing).await
    })
}

#[tokio::test(start_paused = true)]
async fn a_slowly_confirmed_copy_does_not_delay_other_deliveries() {
    let mut rig = Rig::new();
    let transport = unconfirmed(&rig.transport);
    let builder = rig.builder_on(transport);
    let listener = builder.endpoint(RetriesLater).endpoint(Volume).build().unwrap();
    listener.start().await.unwrap();
    for number in 0..MANY {
        send(&rig, "compute", number).await;
    }
    send(&rig, "volume", 0).await;
    // Each waiting delivery takes a slot for a moment, in four rounds.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.seen_so_far(), ["volume"]);
    finish(&listener).await;
}

struct Retried(mpsc::UnboundedSender<(Vec<String>, u32, Duration)>);

impl Observer for Retried {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Retried { methods, attempts, delay: after, .. } = event {
            let _ = self.0.send((methods.to_vec(), *attempts, *after));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_the_process_is_reported_to_observers() {
    let rig = Rig::new();
    let (retries, mut retried) = mpsc::unbounded_channel();
    let retry = RetryOptions::default().storage(RetryStorage::Process).attempts(3);
    let builder = rig.builder().retry(retry).observer(Retried(retries));
    let listener = builder.endpoint(RetriesLater).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "compute", 0).await;
    assert_eq!(rig.dead_letter().await.reason, "retries");
    finish(&listener).await;
    let expected =
        [1, 2].map(|attempts| (vec!["again::info".to_owned()], attempts, Duration::from_secs(60)));
    let retries: Vec<_> = std::iter::from_fn(|| retried.try_recv().ok()).collect();
    assert_eq!(retries, expected);
}

/// A transport whose journal cannot be reached, so that suspects are handled one at a time.
struct NoJournal(Transport);

impl Driver for NoJournal {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        Box::pin(self.0.subscribe(subscription))
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin(self.0.send(outgoing))
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        let late = JournalError::Unreachable("no answer".to_owned());
        Box::pin(async move {
            tokio::time::sleep(append.timeout).await;
            Err(late)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.close())
    }
}

/// Takes a minute for each call.
struct Long;

#[notification_endpoint(register = false, name = "long", event_type = "compute")]
impl Long {
    async fn info(&self, log: State<Log>) {
        let _ = log.send("long".to_owned());
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_waiting_for_each_other_do_not_delay_other_deliveries() {
    let mut rig = Rig::new();
    for number in 0..MANY {
        send(&rig, "compute", number).await;
    }
    let binding = Binding::unbound("notifications.info");
    let subscription = Subscription::new(vec![binding], 1000, Duration::from_secs(1));
    // Delivered once before, and not settled.
    let mut before = rig.transport.subscribe(subscription).await.unwrap();
    for _ in 0..MANY {
        assert!(before.deliveries.recv().await.is_some());
    }
    drop(before);
    let transport = Transport::new(NoJournal(rig.transport.clone()), "no-journal");
    let builder = rig.builder_on(transport).endpoint(Long).endpoint(Volume);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    while rig.seen().await != "long" {}
    send(&rig, "volume", 0).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.seen_so_far(), ["volume"], "no second suspect runs");
    let began = Instant::now();
    listener.stop().await;
    listener.wait().await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "a stop does not wait for waiting deliveries"
    );
}
