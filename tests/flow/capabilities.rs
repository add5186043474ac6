//! Drivers that cannot do everything: what does not build on them, and what a listener does instead. The
//! driver is a model of a broker that declares less than it can, and refuses what it does not declare.

use std::sync::Arc;
use std::time::Duration;

use listener::driver::{
    Capabilities, ConnectError, Driver, Outgoing, Route, SendError, Subscribed, Subscription,
};
use listener::options::{OnFailure, RetryOptions};
use listener::testing::{Model, Process};
use listener::{Attempt, BoxFuture, Outcome, State, Transport, notification_endpoint};

use crate::rig::{Log, Rig, finish, run_once};

struct Limited {
    process: Process,
    can: Capabilities,
}

impl Driver for Limited {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        self.process.subscribe(subscription)
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        let is_delayed = matches!(outgoing.route, Route::Delayed { .. });
        assert!(self.can.delay || !is_delayed, "the driver is not asked for a delay");
        self.process.send(outgoing)
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.process.close()
    }
}

fn rig(can: Capabilities) -> Rig {
    let process = Arc::new(Model::new(1)).process();
    Rig::on(Transport::new(Limited { process, can }, "limited"))
}

/// Asks for a retry at its first call.
struct Retries(Duration);

#[notification_endpoint(register = false)]
impl Retries {
    async fn info(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        let _ = log.send(format!("call {}", attempt.0));
        if attempt.0 == 1 { Outcome::retry_after(self.0) } else { Outcome::Handled }
    }
}

#[tokio::test(start_paused = true)]
async fn a_requeue_is_refused_by_the_build_where_the_driver_has_none() {
    let rig = rig(Capabilities::default().requeue(false));
    let endpoint = || Retries(Duration::ZERO);
    let refused = rig.builder().allow_requeue(true).endpoint(endpoint()).build().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the listener cannot be built: the driver of limited cannot requeue a delivery, which `allow_requeue` needs; remove it, and return `Outcome::Retry` instead of `Outcome::Requeue`"
    );
    let policy = rig.builder().on_failure(OnFailure::Requeue).endpoint(endpoint()).build();
    let text = policy.unwrap_err().to_string();
    assert!(text.contains("which `OnFailure::Requeue` needs"), "{text}");
    assert!(rig.builder().endpoint(endpoint()).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_keeps_no_dead_letters_runs_no_listener() {
    let rig = rig(Capabilities::default().dead_letter(false));
    let text = rig.builder().endpoint(Retries(Duration::ZERO)).build().unwrap_err().to_string();
    assert!(
        text.contains("limited cannot keep dead letters, which every listener needs"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_held_in_the_process_where_the_driver_cannot_delay() {
    let mut rig = rig(Capabilities::default().delay(false));
    let builder = rig.builder().endpoint(Retries(Duration::from_secs(60)));
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&listener::Context::new(), "x", &()).await.unwrap();
    assert_eq!([rig.seen().await, rig.seen().await], ["call 1", "call 2"]);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_delay_longer_than_the_hold_is_a_dead_letter_where_the_driver_cannot_delay() {
    let rig = rig(Capabilities::default().delay(false));
    let hold = RetryOptions::default().hold(Duration::from_secs(30));
    let builder = rig.builder().retry(hold).endpoint(Retries(Duration::from_secs(60)));
    run_once(&builder.build().unwrap(), &rig.notifier()).await;
    assert_eq!(rig.dead_letter().await.reason, "retries");
}
