//! Calls the methods of one delivery in order: those that the notification is pending for, if each may be
//! called now. One call is in `dispatch`; what follows from a failure is decided in `policy.rs`.

use std::time::Duration;

use futures_util::FutureExt;

use crate::dispatch::table::{Entry, Wanting};
use crate::inbox::InboxEntry;
use crate::notification::Notification;
use crate::observer::Event;
use crate::outcome::{Failure, Outcome};
use crate::redact::{Chain, LONGEST_ERROR, LONGEST_TEXT, shortened};
use crate::runtime::case::Case;
use crate::runtime::judge::batch_call::{BatchCall, WAIT_AT_STOP};
use crate::runtime::judge::policy::{
    self, CopyKind, Decided, NotHandled, PolicyContext, Step, UNKNOWN_METHOD, Verdict,
};
use crate::runtime::program_code::{self, CallError};
use crate::runtime::schedule::permit::{self, Permit};
use crate::runtime::shared::Shared;
use crate::runtime::suspect::gate::RunningMethod;
use crate::transport::delivery::Delivery;

/// How long the inbox may take to record a handled notification once the session is over.
const INBOX_TIMEOUT_AFTER_SESSION: Duration = Duration::from_secs(2);

/// The methods of one delivery, to be called once each.
pub(crate) struct Invocation<'c> {
    pub(crate) shared: &'c Shared,
    pub(crate) notification: &'c Notification<'c>,
    pub(crate) case: &'c Case,
    pub(crate) permit: Permit<'c>,
}

/// What the calls came to.
pub(crate) struct InvocationResult {
    pub(crate) verdict: Verdict,
    /// How many methods handled the notification.
    pub(crate) handled: usize,
    /// The methods that were not called and stay pending: copies cannot be made for them at present, or
    /// the listener stops and does not wait for the inbox.
    pub(crate) uncalled: Vec<String>,
}

/// What one method came to.
enum CallResult {
    Handled,
    /// The inbox has a record that it handled the notification: it was not called.
    HandledBefore,
    NotHandled(NotHandled),
    /// Copies cannot be made for it at present: it was not called.
    Paused,
    Requeued,
    /// The listener stops, or the session is over.
    Abandoned,
}

impl Invocation<'_> {
    /// Calls every method that wants the notification and that it is pending for. A method that fails
    /// or is paused does not keep the others from being called; a requeue does. A stop prevents the
    /// first call only: once a method was called, the others are called as well, because a released
    /// delivery would call it again.
    pub(crate) async fn invoke(&self) -> InvocationResult {
        let context = policy_context(self.shared, self.notification.attempt());
        let mut invoked =
            InvocationResult { verdict: Verdict::NoCopies, handled: 0, uncalled: Vec::new() };
        let mut decided = self.unknown();
        let mut has_called = false;
        for wanting in self.pending() {
            let entry = wanting.0;
            let called = self.call(wanting, has_called, context).await;
            let stays_pending = has_called && !self.case.delivery.is_over();
            has_called |= matches!(called, CallResult::Handled | CallResult::NotHandled(_));
            let failed = match called {
                CallResult::Handled => {
                    invoked.handled += 1;
                    continue;
                }
                CallResult::HandledBefore => continue,
                CallResult::NotHandled(failed) => failed,
                CallResult::Abandoned if stays_pending => {
                    invoked.uncalled.push(entry.name.clone());
                    continue;
                }
                CallResult::Paused => {
                    invoked.uncalled.push(entry.name.clone());
                    continue;
                }
                CallResult::Requeued => {
                    return InvocationResult { verdict: Verdict::Requeue, ..invoked };
                }
                CallResult::Abandoned => {
                    return InvocationResult { verdict: Verdict::Release, ..invoked };
                }
            };
            match policy::step(&failed, &entry.policy, context) {
                Step::Copy(kind) => {
                    decided.push(Decided { method: entry.name.clone(), failed, kind });
                }
                Step::Discard => self.log_discarded(entry, &failed),
                Step::Requeue => {
                    return InvocationResult { verdict: Verdict::Requeue, ..invoked };
                }
            }
        }
        InvocationResult { verdict: policy::verdict(decided), ..invoked }
    }

    /// The methods that want the notification and that it is pending for.
    fn pending(&self) -> impl Iterator<Item = Wanting<'_>> {
        let pending = &self.case.copy_headers.pending;
        let table = self.shared.dispatcher.table();
        table.wanting(self.notification, |entry| pending.includes(&entry.name))
    }

    /// The methods that a copy names and that do not exist.
    fn unknown(&self) -> Vec<Decided> {
        let names = self.case.copy_headers.pending.names().iter();
        names
            .filter(|name| !self.shared.dispatcher.table().knows(name))
            .map(|name| Decided {
                method: name.clone(),
                failed: NotHandled::Unknown,
                kind: CopyKind::DeadLetter(UNKNOWN_METHOD),
            })
            .collect()
    }

    /// Calls a method. `has_called`: another one has a result (handled, failed, inbox not readable), so
    /// that a stop does not prevent this call.
    async fn call(
        &self,
        (entry, filtered): Wanting<'_>,
        has_called: bool,
        context: PolicyContext<'_>,
    ) -> CallResult {
        let Self { shared, case, permit, .. } = *self;
        let copier = &shared.copier;
        if copier.has_failures() && copier.wait_until_resumed(&entry.name).now_or_never().is_none()
        {
            return CallResult::Paused;
        }
        if case.delivery.is_over() || (permit.stop.is_cancelled() && !has_called) {
            return CallResult::Abandoned;
        }
        if let Err(panic) = filtered {
            let message = format!("a predicate of its filter: {panic}");
            return CallResult::NotHandled(NotHandled::Failure(Failure::Panic(message)));
        }
        let checking = async {
            // Given up while the notification waited in a batch.
            permit.acquire().await;
            let already_handled = self.has_handled(entry).await;
            // The gate may have been closed since the delivery was begun. A batch passes it when it is called.
            let entered = match entry.batch {
                None => Some(shared.gate.enter(case.passage()).await),
                Some(_) => None,
            };
            (already_handled, entered)
        };
        let Some((already_handled, entered)) = self.unless_ended(has_called, checking).await else {
            return CallResult::Abandoned;
        };
        match already_handled {
            Ok(false) => {}
            Ok(true) => {
                let (delivery, method) = (&case.copy_headers.origin, entry.name.as_str());
                shared.observers.report(&Event::Duplicate { delivery, method });
                return CallResult::HandledBefore;
            }
            Err(failed) => return CallResult::NotHandled(failed),
        }
        let returned = match (&entry.batch, entered) {
            (None, Some(entered)) => self.dispatch(entry, has_called, entered).await,
            // On the heap, so that the futures of other deliveries stay small.
            (Some(batch), _) => self.batch_call(entry).call(batch, context).boxed().await,
            (None, None) => None,
        };
        let Some(returned) = returned else { return CallResult::Abandoned };
        match returned {
            Ok(Outcome::Handled) => {
                self.record_handled(entry).await;
                CallResult::Handled
            }
            Ok(Outcome::Requeue) if shared.options.allow_requeue => CallResult::Requeued,
            Ok(Outcome::Requeue) => CallResult::NotHandled(NotHandled::RequeueNotAllowed),
            Ok(Outcome::DeadLetter(reason)) => {
                CallResult::NotHandled(NotHandled::GivenUp(reason.into_owned()))
            }
            Ok(Outcome::Retry { after }) => CallResult::NotHandled(NotHandled::Retry(after)),
            Err(failure) => CallResult::NotHandled(NotHandled::Failure(failure)),
        }
    }

    fn batch_call<'c>(&'c self, entry: &'c Entry) -> BatchCall<'c> {
        let Self { shared, notification, case, permit } = *self;
        BatchCall { shared, notification, case, permit, entry, timeout: self.timeout(entry) }
    }

    /// Calls a method that has passed the gate. `None`: the listener stops, or the session is over.
    async fn dispatch<'g>(
        &'g self,
        entry: &Entry,
        has_called: bool,
        mut entered: RunningMethod<'g>,
    ) -> Option<Result<Outcome, Failure>> {
        let Self { shared, notification, case, permit } = *self;
        let stop = permit.stop;
        loop {
            let (gate, passage, stopped) = (shared.gate.clone(), case.passage(), stop.clone());
            let may_start =
                move || gate.is_open(passage) && (has_called || !stopped.is_cancelled());
            let limit = self.timeout(entry);
            let called = shared.dispatcher.call(entry, notification, limit, may_start).await;
            if called.is_some() {
                return called;
            }
            if (!has_called && stop.is_cancelled()) || case.delivery.is_over() {
                return None;
            }
            // The gate was closed while a plain `fn` waited for a thread.
            drop(entered);
            entered = self.unless_ended(has_called, shared.gate.enter(case.passage())).await?;
        }
    }

    /// Waits, unless the session is over or the listener stops. If another method was called before, a stop
    /// ends the wait after `WAIT_AT_STOP`.
    async fn unless_ended<T>(
        &self,
        has_called: bool,
        waited: impl Future<Output = T>,
    ) -> Option<T> {
        let stopped = async {
            self.permit.stop.cancelled().await;
            if has_called {
                tokio::time::sleep(WAIT_AT_STOP).await;
            }
        };
        tokio::select! {
            biased;
            value = waited => Some(value),
            () = stopped => None,
            () = permit::session_ended(&self.case.delivery) => None,
        }
    }

    /// How long one call of a method may take, and each call of the inbox for it.
    fn timeout(&self, entry: &Entry) -> Duration {
        entry.policy.timeout.unwrap_or(self.shared.options.handler_timeout)
    }

    /// Whether the inbox has a record that the method handled this notification.
    async fn has_handled(&self, entry: &Entry) -> Result<bool, NotHandled> {
        let message_id = self.notification.message_id();
        let Some(inbox) = self.shared.inbox.as_ref().filter(|_| !message_id.is_empty()) else {
            return Ok(false);
        };
        let handled = InboxEntry { message_id, method: &entry.name };
        let why = match program_code::within(self.timeout(entry), || inbox.contains(handled)).await
        {
            Ok(Ok(is_handled)) => return Ok(is_handled),
            Ok(Err(error)) => program_code::error_text(&Chain(&*error)),
            Err(error) => error.to_string(),
        };
        Err(NotHandled::InboxUnavailable(why))
    }

    /// Records in the inbox that the method handled this notification. If that fails, it may be handled
    /// again. Once the session is over, and the notification will be redelivered, the inbox has a
    /// short time left: the delivery cannot be settled any more, and others wait for its slot.
    async fn record_handled(&self, entry: &Entry) {
        let message_id = self.notification.message_id();
        let Some(inbox) = self.shared.inbox.as_ref().filter(|_| !message_id.is_empty()) else {
            return;
        };
        let method = &entry.name;
        let handled = InboxEntry { message_id, method };
        let insert = || inbox.insert(handled);
        let inserted = tokio::select! {
            biased;
            inserted = program_code::within(self.timeout(entry), insert) => inserted,
            () = ended_for(&self.case.delivery, INBOX_TIMEOUT_AFTER_SESSION) => {
                Err(CallError::TimedOut(INBOX_TIMEOUT_AFTER_SESSION))
            }
        };
        let error = match inserted {
            Ok(Ok(())) => return,
            Ok(Err(error)) => program_code::error_text(&Chain(&*error)),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            message_id = shortened(message_id, LONGEST_TEXT),
            method,
            error = shortened(&error, LONGEST_TEXT),
            "inbox write failed; the notification may be handled again"
        );
    }

    /// Logs a failure that counts as handled: nothing else reports it.
    fn log_discarded(&self, entry: &Entry, failed: &NotHandled) {
        let notification = self.notification;
        tracing::error!(
            queue = %self.case.delivery.info.queue,
            routing_key = %self.case.copy_headers.origin.routing_key,
            event_type = shortened(notification.event_type().unwrap_or_default(), LONGEST_TEXT),
            message_id = shortened(notification.message_id(), LONGEST_TEXT),
            method = entry.name,
            error = shortened(&failed.text(), LONGEST_ERROR),
            "a method failed: on_failure = Discard drops the notification for it"
        );
    }
}

/// What the policy depends on for this attempt (from 1, this one included).
pub(crate) fn policy_context(shared: &Shared, calls: u32) -> PolicyContext<'_> {
    PolicyContext {
        retry: &shared.options.retry,
        on_failure: shared.options.on_failure,
        classifiers: &shared.classifiers,
        calls,
        jitter: fastrand::f64(),
    }
}

/// Waits until the session of a delivery has been over for this long.
async fn ended_for(delivery: &Delivery, time: Duration) {
    permit::session_ended(delivery).await;
    tokio::time::sleep(time).await;
}
