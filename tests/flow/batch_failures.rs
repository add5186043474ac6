//! Failures of methods that take a batch: each notification has its own retries and dead letters, and one
//! bad notification does not cost the others.

use std::time::Duration;

use listener::driver::{Delivery, Properties, Settle, SettleError, Settlement, Settler};
use listener::options::{OnFailure, RetryOptions, RetryStorage};
use listener::testing::Model;
use listener::{
    Attempt, Batch, BatchOutcome, Context, DeliveryInfo, Listener, ListenerBuilder, Notifier,
    Outcome, PartError, State, Transport, notification_endpoint, permanent,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

use crate::prepared::Prepared;
use crate::rig::{Log, Rig, finish, once};

const SECOND: Duration = Duration::from_secs(1);

/// The payload for which the whole call fails.
const BAD: u32 = 13;

/// Fails as a whole if the batch has the bad payload, as the event type says.
struct Whole;

#[notification_endpoint(register = false, name = "whole", timeout = "5s")]
impl Whole {
    async fn info(
        &self,
        batch: Batch<'_, u32>,
        log: State<Log>,
    ) -> Result<Outcome, listener::BoxError> {
        let how = batch[0].event_type().to_owned();
        let payloads: Vec<u32> = batch.into_payloads();
        let _ = log.send(format!("{payloads:?}"));
        if !payloads.contains(&BAD) {
            return Ok(Outcome::Handled);
        }
        match how.as_str() {
            "permanent" => Err(permanent("a bad payload"))?,
            "panic" => panic!("a bad payload"),
            "timeout" => std::future::pending().await,
            "requeue" => Ok(Outcome::Requeue),
            "retry" => Ok(Outcome::retry_after(SECOND)),
            "dead letter" => Ok(Outcome::dead_letter("all of them")),
            _ => Err("a bad payload")?,
        }
    }
}

/// Decides for each item.
struct Each;

#[notification_endpoint(register = false, name = "each")]
impl Each {
    async fn info(&self, batch: Batch<'_, u32>, log: State<Log>) -> BatchOutcome {
        let payloads: Vec<u32> = batch.iter().map(|item| item.payload).collect();
        let _ = log.send(format!("{payloads:?}"));
        batch
            .each(async |item| match (item.payload, item.attempt()) {
                (1, _) => Outcome::dead_letter("one"),
                (2, 1) => Outcome::retry_after(10 * SECOND),
                _ => Outcome::Handled,
            })
            .await
    }

    /// Handles payloads that do not fit.
    async fn warn(&self, batch: Batch<'_, Result<u32, PartError>>, log: State<Log>) {
        let fits: Vec<bool> = batch.iter().map(|item| item.payload.is_ok()).collect();
        let _ = log.send(format!("{fits:?}"));
    }
}

fn builder(rig: &Rig, size: u16) -> ListenerBuilder {
    builder_on(rig, rig.transport.clone(), size)
}

fn builder_on(rig: &Rig, transport: Transport, size: u16) -> ListenerBuilder {
    rig.builder_on(transport).batch_size(size).batch_timeout(SECOND)
}

async fn started(builder: ListenerBuilder) -> Listener {
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    listener
}

async fn send(notifier: &Notifier, event_type: &str, payloads: impl IntoIterator<Item = u32>) {
    for payload in payloads {
        notifier.info(&Context::new(), event_type, &payload).await.unwrap();
    }
}

/// Sends three notifications, one of them bad, and returns the calls.
async fn calls(rig: &mut Rig, event_type: &str, attempts: u32) -> Vec<String> {
    let retry = RetryOptions::default().attempts(attempts).delay(SECOND).max_delay(SECOND);
    let listener = started(builder(rig, 3).retry(retry).endpoint(Whole)).await;
    send(&rig.notifier(), event_type, [1, BAD, 2]).await;
    tokio::time::sleep(120 * SECOND).await;
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    rig.seen_so_far()
}

/// The bad notification alone is a dead letter, with this reason.
async fn check_dead(rig: &Rig, reason: &str) {
    let dead = rig.dead_letter().await;
    assert_eq!((dead.reason.as_str(), dead.methods.as_str()), (reason, "whole::info"));
    assert!(String::from_utf8_lossy(&dead.body).contains("13"), "{dead:?}");
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn before_a_dead_letter_each_notification_is_called_alone() {
    for (how, reason) in
        [("error", "error"), ("panic", "panic"), ("timeout", "timeout"), ("retry", "retries")]
    {
        let mut rig = Rig::new();
        let mut calls = calls(&mut rig, how, 1).await;
        calls[1..].sort();
        assert_eq!(calls, ["[1, 13, 2]", "[13]", "[1]", "[2]"], "{how}");
        check_dead(&rig, reason).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_of_a_batch_costs_only_the_bad_notification() {
    let mut rig = Rig::new();
    let calls = calls(&mut rig, "permanent", 5).await;
    assert_eq!(calls.len(), 4, "{calls:?}");
    check_dead(&rig, "error").await;
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_of_a_batch_is_retried_in_a_batch() {
    let mut rig = Rig::new();
    let calls = calls(&mut rig, "error", 3).await;
    let of_three = calls.iter().filter(|call| call.matches(',').count() == 2).count();
    assert!(of_three >= 2, "the attempts before the last are made in batches: {calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "[1]").count(), 1, "{calls:?}");
    check_dead(&rig, "error").await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_the_method_chooses_for_all_is_one_for_all() {
    let mut rig = Rig::new();
    assert_eq!(calls(&mut rig, "dead letter", 1).await, ["[1, 13, 2]"]);
    for _ in 0..3 {
        let dead = rig.dead_letter().await;
        assert_eq!(
            (dead.reason.as_str(), dead.error.as_str()),
            ("given-up", "whole::info: all of them")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_continues_after_a_failed_batch() {
    let mut rig = Rig::new();
    let listener = started(builder(&rig, 2).retry(once()).endpoint(Whole)).await;
    send(&rig.notifier(), "panic", [1, 2, BAD, 3, 4, 5]).await;
    tokio::time::sleep(10 * SECOND).await;
    let seen = rig.seen_so_far();
    assert!(seen.contains(&"[1, 2]".to_owned()) && seen.contains(&"[4, 5]".to_owned()), "{seen:?}");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_requeue_returns_all_of_the_batch_and_keeps_the_others() {
    let mut rig = Rig::new();
    let builder = builder(&rig, 2).allow_requeue(true).endpoint(Whole);
    let listener = started(builder).await;
    send(&rig.notifier(), "requeue", [1, 2, BAD]).await;
    assert_eq!(rig.seen().await, "[1, 2]");
    assert_eq!([rig.seen().await, rig.seen().await], ["[13]", "[13]"]);
    listener.shutdown().await.unwrap();
    assert!(!rig.is_empty("notifications.info").await);
}

#[tokio::test(start_paused = true)]
async fn discarded_failures_count_as_handled_for_all() {
    let mut rig = Rig::new();
    let builder = builder(&rig, 3).on_failure(OnFailure::Discard).endpoint(Whole);
    let listener = started(builder).await;
    send(&rig.notifier(), "permanent", [1, BAD, 2]).await;
    assert_eq!(rig.seen().await, "[1, 13, 2]");
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn an_item_has_its_own_retries_and_dead_letter() {
    let mut rig = Rig::new();
    let listener = started(builder(&rig, 3).endpoint(Each)).await;
    send(&rig.notifier(), "number", [1, 2, 3]).await;
    assert_eq!(rig.seen().await, "[1, 2, 3]");
    assert_eq!(rig.seen().await, "[2]");
    let dead = rig.dead_letter().await;
    assert_eq!((dead.reason.as_str(), dead.error.as_str()), ("given-up", "each::info: one"));
    finish(&listener).await;
    rig.assert_empty("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_does_not_fit_is_a_dead_letter_and_not_in_the_batch() {
    let mut rig = Rig::new();
    let listener = started(builder(&rig, 3).endpoint(Each)).await;
    let (notifier, ctxt) = (rig.notifier(), Context::new());
    send(&notifier, "number", [4]).await;
    notifier.info(&ctxt, "text", "five").await.unwrap();
    send(&notifier, "number", [6]).await;
    assert_eq!(rig.seen().await, "[4, 6]");
    let dead = rig.dead_letter().await;
    assert_eq!(dead.reason, "argument");
    assert!(dead.error.contains("argument `payload`: invalid type"), "{dead:?}");
    for payload in ["one", "two", "three"] {
        notifier.info(&ctxt, "text", payload).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(rig.dead_letter().await.reason, "argument");
    }
    notifier.warn(&ctxt, "number", &1).await.unwrap();
    notifier.warn(&ctxt, "text", "one").await.unwrap();
    assert_eq!(rig.seen().await, "[true, false]");
    finish(&listener).await;
    rig.assert_empty("notifications.info.dead").await;
}

/// A session that can be ended.
#[derive(Default)]
struct Session(AtomicBool);

impl Settler for Session {
    fn settle(&self, _: u64, _: Settle) -> Result<(), SettleError> {
        if self.is_over() { Err(SettleError) } else { Ok(()) }
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_redelivers_is_not_in_the_batch() {
    let mut rig = Rig::new();
    let (sender, deliveries) = mpsc::unbounded_channel();
    let transport = Transport::new(Prepared::new(deliveries), "batch sessions");
    let in_process = RetryOptions::default().storage(RetryStorage::Process);
    let builder = builder_on(&rig, transport, 3).retry(in_process).endpoint(Whole);
    let listener = started(builder).await;
    let (lost, open) = (Arc::new(Session::default()), Arc::new(Session::default()));
    for (session, payload) in [(&lost, 1), (&open, 2)] {
        let body = format!(r#"{{"event_type": "e", "priority": "INFO", "payload": {payload}}}"#);
        let settlement = Settlement::new(Arc::clone(session) as Arc<dyn Settler>, 1);
        let info = DeliveryInfo::new("notifications.info", "openstack", "notifications.info");
        let delivery = Delivery::new(body.into(), Properties::default(), info, settlement);
        sender.send(delivery).unwrap();
    }
    tokio::time::sleep(SECOND / 2).await;
    lost.0.store(true, Ordering::SeqCst);
    assert_eq!(rig.seen().await, "[2]");
    listener.shutdown().await.unwrap();
}

/// Counts what was handled.
struct Counting;

#[notification_endpoint(register = false, name = "counting")]
impl Counting {
    async fn info(&self, batch: Batch<'_, u32>, log: State<Log>) -> Result<(), String> {
        tokio::time::sleep(SECOND / 10).await;
        let payloads = batch.into_payloads();
        if payloads.iter().any(|payload| fastrand::u32(0..40) == payload % 40) {
            return Err("sometimes".to_owned());
        }
        payloads.iter().for_each(|payload| drop(log.send(payload.to_string())));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn every_notification_is_handled_in_spite_of_lost_connections() {
    let mut rig = Rig::new();
    let model = Model::new(11);
    model.change(|conditions| conditions.lost_sends = 5);
    let transport = Transport::new(model.process(), "model");
    let retry = RetryOptions::default().attempts(100);
    let builder = builder_on(&rig, transport.clone(), 7).retry(retry).endpoint(Counting);
    let listener = started(builder).await;
    let notifier = Notifier::builder(transport).build().unwrap();
    for payload in 0..200 {
        send(&notifier, "number", [payload]).await;
        if payload % 25 == 0 {
            model.lose_connections("the network is cut");
        }
    }
    tokio::time::sleep(3600 * SECOND).await;
    listener.shutdown().await.unwrap();
    let mut seen: Vec<u32> = rig.seen_so_far().iter().map(|line| line.parse().unwrap()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    assert_eq!(model.depths().values().sum::<usize>(), 0, "{:?}", model.depths());
}

/// Takes what is not the same for all notifications: an `Option` of a state is.
struct Arguments;

#[notification_endpoint(register = false, name = "arguments")]
impl Arguments {
    async fn info(&self, missing: Option<State<u8>>, batch: &[u32], log: State<Log>) {
        let _ = log.send(format!("{} {batch:?}", missing.is_none()));
    }

    async fn error(&self, attempt: Attempt, payload: u32, log: State<Log>) {
        let _ = log.send(format!("{} {payload}", attempt.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_method_takes_what_its_notifications_have_in_common() {
    let mut rig = Rig::new();
    let listener = started(builder(&rig, 2).endpoint(Arguments)).await;
    send(&rig.notifier(), "number", [1, 2]).await;
    assert_eq!(rig.seen().await, "true [1, 2]");
    rig.notifier().error(&Context::new(), "number", &3).await.unwrap();
    assert_eq!(rig.seen().await, "1 3");
    finish(&listener).await;
}
