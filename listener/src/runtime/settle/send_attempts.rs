//! The attempts to send one copy: each may take longer while the broker confirms slowly, and one that fails is
//! repeated after a growing wait, with its methods paused. What is sent, and what follows from a
//! refusal, is in `copier.rs`.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observer::Observers;
use crate::redact::error_text;
use crate::runtime::schedule::permit;
use crate::runtime::settle::failures::{CopyFailures, FailureGuard};
use crate::runtime::settle::pending::Pending;
use crate::runtime::settle::timeout::CopyTimeout;
use crate::runtime::suspect::gate::{Gate, GateGuard};
use crate::transport::Transport;
use crate::transport::delivery::{Delivery, Properties};
use crate::transport::driver::{Outgoing, Route};
use crate::transport::error::SendError;

/// The waits between attempts to send a copy.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long an attempt that follows a failed one keeps the gate closed: such an attempt usually fails by its
/// timeout, too.
const GATE_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends copies.
#[derive(Debug)]
pub(super) struct CopySender {
    pub(super) transport: Transport,
    timeout: Duration,
    adaptive: CopyTimeout,
    pub(super) failures: CopyFailures,
    observers: Arc<Observers>,
}

impl CopySender {
    pub(super) fn new(transport: Transport, timeout: Duration, observers: Arc<Observers>) -> Self {
        let (adaptive, failures) = (CopyTimeout::new(timeout), CopyFailures::default());
        Self { transport, timeout, adaptive, failures, observers }
    }

    /// Sends a copy once. The timeout is limited to the time until `until`, but is at least the usual one.
    pub(super) async fn send(
        &self,
        route: &Route,
        delivery: &Delivery,
        properties: Properties,
        until: Option<Instant>,
    ) -> Result<(), SendError> {
        let (route, body) = (route.clone(), delivery.body.clone());
        let (timeout, began) = (self.timeout_until(until), Instant::now());
        let outgoing = Outgoing::new(route, body, timeout).properties(properties);
        let sent = self.transport.send(outgoing).await;
        match &sent {
            Err(SendError::TimedOut { .. }) => self.adaptive.timed_out(timeout),
            Ok(()) if began.elapsed() > self.timeout => self.adaptive.still_needed(),
            _ => {}
        }
        sent
    }

    /// The timeout of the next attempt: no longer than its delivery may be held, but at least the usual
    /// time.
    fn timeout_until(&self, until: Option<Instant>) -> Duration {
        let timeout = self.adaptive.get();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(timeout, |left| timeout.min(left.max(self.timeout)))
    }

    /// Waits for an attempt for the usual time, or for `GATE_TIMEOUT` after one that failed. `None` if it
    /// goes on after that.
    async fn in_time<T>(
        &self,
        sending: Pin<&mut impl Future<Output = T>>,
        has_failed: bool,
    ) -> Option<T> {
        if self.adaptive.get() <= self.timeout && !has_failed {
            return Some(sending.await);
        }
        let limit = if has_failed { self.timeout.min(GATE_TIMEOUT) } else { self.timeout };
        tokio::time::timeout(limit, sending).await.ok()
    }

    /// The error of an attempt that goes on after the usual time.
    fn late_error(&self, route: &Route) -> SendError {
        let (route, last) = (route.to_string(), self.transport.blocked());
        SendError::TimedOut { route, after: self.timeout, last }
    }
}

/// What a copy is made for: decides what is logged, and whether methods are paused while it fails.
#[derive(Clone, Copy)]
pub(super) enum CopyPurpose<'c> {
    /// A retry or a dead letter for these methods.
    Copy { source: &'c str, pending: &'c Pending },
    /// The whole delivery is moved to another position or queue.
    Move { source: &'c str },
}

/// The attempts to send one copy. While they fail the methods that it names are paused; it names none if it is
/// pending for all.
pub(super) struct SendAttempts<'c> {
    sender: &'c CopySender,
    purpose: CopyPurpose<'c>,
    delivery: &'c Delivery,
    route: &'c Route,
    failure: Option<FailureGuard<'c>>,
    /// The delay before the next attempt.
    pub(super) delay: Duration,
}

impl<'c> SendAttempts<'c> {
    pub(super) fn new(
        sender: &'c CopySender,
        purpose: CopyPurpose<'c>,
        delivery: &'c Delivery,
        route: &'c Route,
    ) -> Self {
        Self { sender, purpose, delivery, route, failure: None, delay: FIRST_WAIT }
    }

    /// Runs one attempt. It is given up at `until`, but not before it has taken the usual time, and the
    /// copy may have been sent nevertheless. The gate is closed at the start, for no longer than the
    /// usual time (after a failure: `GATE_TIMEOUT`), and closed again at the end. Returns `None` if the
    /// session is over.
    pub(super) async fn run(
        &mut self,
        sending: impl Future<Output = Result<(), SendError>>,
        gate: Option<&Gate>,
        until: Option<Instant>,
    ) -> Option<(Result<(), SendError>, Option<GateGuard>)> {
        let closed = gate.map(Gate::close);
        let mut sending = pin!(sending);
        if let Some(sent) = self.sender.in_time(sending.as_mut(), self.failure.is_some()).await {
            return Some((sent, closed));
        }
        // Methods may start in the meantime: it is unknown how long this takes.
        drop(closed);
        if self.failure.is_none() {
            self.late();
        }
        let sending = unless_over(self.delivery, sending);
        let sent = match until {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now()).max(self.sender.timeout);
                let sent = tokio::time::timeout(left, sending).await;
                sent.unwrap_or_else(|_| Some(Err(self.sender.late_error(self.route))))
            }
            None => sending.await,
        };
        let closed = gate.map(Gate::close);
        sent.map(|sent| (sent, closed))
    }

    /// The copy is confirmed.
    pub(super) fn succeeded(self) {
        let Self { sender, route, failure, .. } = self;
        drop(failure);
        sender.failures.copy_made(queue_of(route), &sender.observers);
    }

    /// The first attempt takes longer than usual.
    fn late(&mut self) {
        let (to, error) = (queue_of(self.route), error_text(&self.sender.late_error(self.route)));
        if let CopyPurpose::Copy { source, .. } = self.purpose {
            tracing::error!(
                queue = %source,
                to,
                error,
                "a copy is not confirmed yet: its delivery stays unacknowledged until it is"
            );
        }
        self.report(&error);
    }

    /// An attempt failed: it is logged, and the methods are paused until another one is confirmed or
    /// none is made.
    pub(super) fn failed(&mut self, error: &SendError) {
        let (to, error, delay) = (queue_of(self.route), error_text(error), self.delay);
        match self.purpose {
            CopyPurpose::Copy { source, .. } => tracing::error!(
                queue = %source,
                to,
                error,
                ?delay,
                "a copy could not be made: its delivery stays unacknowledged until it can"
            ),
            CopyPurpose::Move { source } => {
                tracing::warn!(%source, to, error, ?delay, "a delivery is held: it could not be moved");
            }
        }
        self.report(&error);
    }

    /// Reports that the copy cannot be made at present.
    fn report(&mut self, error: &str) {
        let Self { sender, purpose, route, .. } = *self;
        let methods = match purpose {
            CopyPurpose::Copy { pending, .. } => pending.names(),
            CopyPurpose::Move { .. } => &[],
        };
        self.failure
            .get_or_insert_with(|| sender.failures.start(queue_of(route), methods))
            .report(error, &sender.observers);
    }

    /// Waits before the next attempt. Returns `false` if the listener stops first.
    pub(super) async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let paused = stop.run_until_cancelled(tokio::time::sleep(self.delay)).await;
        self.delay = LONGEST_WAIT.min(self.delay * 2);
        paused.is_some()
    }
}

/// Waits for an attempt that takes long, unless the session of the delivery ends: the broker redelivers
/// the original, and the driver would send the copy over the next connection.
pub(super) async fn unless_over<T>(
    delivery: &Delivery,
    sending: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        sent = sending => Some(sent),
        () = permit::session_ended(delivery) => None,
    }
}

/// The queue that a copy is for.
pub(super) fn queue_of(route: &Route) -> &str {
    match route {
        Route::Queue(queue) | Route::Quarantine(queue) | Route::Delayed { queue, .. } => queue,
        Route::Topic { routing_key, .. } => routing_key,
    }
}
