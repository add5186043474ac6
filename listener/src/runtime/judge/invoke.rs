//! The methods of one delivery, called in their order: which of them are owed it, whether each
//! may be called now, and what is decided of those that fail. Called by `worker.rs`; one call is
//! `dispatch`, the decision `policy.rs`.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::dispatch::table::Entry;
use crate::inbox::InboxEntry;
use crate::notification::Notification;
use crate::observer::Event;
use crate::outcome::Outcome;
use crate::runtime::judge::policy::{self, Decided, Failed, PolicyContext, Step, Verdict};
use crate::runtime::program_code::{self, Fault};
use crate::runtime::schedule::key_order::Keys;
use crate::runtime::schedule::permit;
use crate::runtime::worker::{Task, Worker};
use crate::shown::{LONGEST_ERROR, shortened};
use crate::transport::delivery::Delivery;

/// The longest text from outside that a log line carries, in bytes.
const LONGEST_TEXT: usize = 256;

/// How long a stop waits for what the inbox says of the next method of a notification that others
/// were called for.
const ASKED_AT_A_STOP: Duration = Duration::from_millis(500);

/// How long the inbox may take to remember what was handled once the session is over.
const REMEMBERED_AFTER_ALL: Duration = Duration::from_secs(2);

/// What came of a walk.
pub(crate) struct Walk {
    pub(crate) verdict: Verdict,
    /// How many methods handled it.
    pub(crate) handled: usize,
    /// Whether some of the methods keep an order.
    pub(crate) ordered: bool,
    /// The methods that were not called: copies cannot be made for them at present, or the
    /// listener stops and cannot wait for the inbox.
    pub(crate) paused: Vec<String>,
}

/// What came of one method.
enum Called {
    /// It is done with the notification; it was called unless it had been before.
    Done {
        now: bool,
    },
    Failed(Failed),
    /// Copies cannot be made for it at present: it was not called.
    Paused,
    Requeued,
    /// The listener stops, or the session is over.
    Abandoned,
}

impl Worker {
    /// Calls every method that wants the notification and is owed it, in order. Neither a failure
    /// nor a method that is paused keeps the others from running; a delivery that is given back
    /// ends the walk. A stop does so only before the first call: nobody is called again for those
    /// behind.
    pub(crate) async fn walk(
        &self,
        notification: &Notification<'_>,
        task: &Task,
        stop: &CancellationToken,
    ) -> Walk {
        let context = self.context(notification.attempt());
        let mut walk = Walk {
            verdict: Verdict::Ack,
            handled: 0,
            ordered: self.order.is_some(),
            paused: Vec::new(),
        };
        let mut decided = self.unknown(task);
        let mut is_begun = false;
        for entry in self.owed(notification, task) {
            walk.ordered |= entry.order.is_some();
            let called = self.call(entry, notification, task, stop, is_begun).await;
            let is_left = is_begun && !task.delivery.is_over();
            is_begun |= matches!(called, Called::Done { now: true } | Called::Failed(_));
            let failed = match called {
                Called::Done { now } => {
                    walk.handled += usize::from(now);
                    continue;
                }
                Called::Failed(failed) => failed,
                Called::Abandoned if is_left => {
                    walk.paused.push(entry.name.clone());
                    continue;
                }
                Called::Paused => {
                    walk.paused.push(entry.name.clone());
                    continue;
                }
                Called::Requeued => return Walk { verdict: Verdict::Requeue, ..walk },
                Called::Abandoned => return Walk { verdict: Verdict::GiveBack, ..walk },
            };
            let step = policy::step(&failed, &entry.policy, context);
            if step == Step::Forget {
                tell_forgotten(entry, &failed, notification, task);
            }
            decided.push(Decided { method: entry.name.clone(), failed, step });
        }
        Walk { verdict: policy::verdict(decided), ..walk }
    }

    /// The methods that want a notification, those left out that a copy does not name.
    fn owed<'w>(
        &'w self,
        notification: &'w Notification<'_>,
        task: &'w Task,
    ) -> impl Iterator<Item = &'w Entry> {
        let is_owed = |entry: &&Entry| {
            task.copy_headers.owed.as_ref().is_none_or(|owed| owed.contains(&entry.name))
        };
        self.dispatcher.table().wanting(notification).filter(is_owed)
    }

    /// The methods that a copy names and nobody knows.
    fn unknown(&self, task: &Task) -> Vec<Decided> {
        let owed = task.copy_headers.owed.iter().flatten();
        owed.filter(|name| !self.dispatcher.table().knows(name))
            .map(|name| Decided {
                method: name.clone(),
                failed: Failed::Unknown,
                step: Step::GiveUp("unknown-endpoint"),
            })
            .collect()
    }

    /// Calls a method. A stop keeps it from being called if none was before (`is_begun`).
    async fn call(
        &self,
        entry: &Entry,
        notification: &Notification<'_>,
        task: &Task,
        stop: &CancellationToken,
        is_begun: bool,
    ) -> Called {
        if self.copier.has_troubles() && self.copier.wait_for(&entry.name).now_or_never().is_none()
        {
            return Called::Paused;
        }
        if task.delivery.is_over() || (stop.is_cancelled() && !is_begun) {
            return Called::Abandoned;
        }
        let asking = async {
            let asked = self.has_handled(entry, notification).await;
            // A suspect may have been on its way since the delivery was begun.
            let entered = self.gate.enter(task.who()).await;
            (asked, entered)
        };
        let stopped = async || {
            stop.cancelled().await;
            if is_begun {
                tokio::time::sleep(ASKED_AT_A_STOP).await;
            }
        };
        let (asked, mut entered) = tokio::select! {
            biased;
            asked = asking => asked,
            () = stopped() => return Called::Abandoned,
            () = permit::ended(&task.delivery) => return Called::Abandoned,
        };
        match asked {
            Ok(false) => {}
            Ok(true) => {
                let (delivery, method) = (&task.copy_headers.origin, entry.name.as_str());
                self.observers.tell(&Event::Duplicate { delivery, method });
                return Called::Done { now: false };
            }
            Err(failed) => return Called::Failed(failed),
        }
        let called = loop {
            let (gate, until) = (self.gate.clone(), (!is_begun).then(|| stop.clone()));
            let is_stopped = move || until.as_ref().is_some_and(CancellationToken::is_cancelled);
            let (who, may_begin) = (task.who(), is_stopped.clone());
            let may_begin = move || gate.is_open(who) && !may_begin();
            let limit = self.limit(entry);
            match self.dispatcher.call(entry, notification, limit, may_begin).await {
                Some(called) => break called,
                None if is_stopped() || task.delivery.is_over() => return Called::Abandoned,
                // A suspect was on its way when there was a thread for it.
                None => {
                    drop(entered);
                    entered = tokio::select! {
                        biased;
                        entered = self.gate.enter(task.who()) => entered,
                        () = stopped() => return Called::Abandoned,
                        () = permit::ended(&task.delivery) => return Called::Abandoned,
                    };
                }
            }
        };
        drop(entered);
        match called {
            Ok(Outcome::Handled) => {
                self.remember(entry, notification, task).await;
                Called::Done { now: true }
            }
            Ok(Outcome::Requeue) if self.options.allow_requeue => Called::Requeued,
            Ok(Outcome::Requeue) => Called::Failed(Failed::RequeueNotAllowed),
            Ok(Outcome::DeadLetter(reason)) => Called::Failed(Failed::GivenUp(reason.into_owned())),
            Ok(Outcome::Retry { after }) => Called::Failed(Failed::Retry(after)),
            Err(failure) => Called::Failed(Failed::Failure(failure)),
        }
    }

    /// How long one call of a method may take, and what the inbox does for it.
    fn limit(&self, entry: &Entry) -> Duration {
        entry.policy.timeout.unwrap_or(self.options.handler_timeout)
    }

    /// What is decided by for a delivery whose methods have been called so often.
    pub(crate) fn context(&self, calls: u32) -> PolicyContext<'_> {
        PolicyContext {
            retry: self.options.retry,
            on_failure: self.options.on_failure,
            classifiers: &self.classifiers,
            calls,
            chance: fastrand::f64(),
        }
    }

    /// Whether the inbox remembers that the method has handled this notification.
    async fn has_handled(
        &self,
        entry: &Entry,
        notification: &Notification<'_>,
    ) -> Result<bool, Failed> {
        let (Some(inbox), message_id) = (&self.inbox, notification.message_id()) else {
            return Ok(false);
        };
        if message_id.is_empty() {
            return Ok(false);
        }
        let asked = InboxEntry { message_id, method: &entry.name };
        let why = match program_code::within(self.limit(entry), || inbox.contains(asked)).await {
            Ok(Ok(handled)) => return Ok(handled),
            Ok(Err(error)) => program_code::text(&error),
            Err(fault) => fault.to_string(),
        };
        Err(Failed::NotAsked(why))
    }

    /// What is not remembered is handled again if it comes again, which is better than not at
    /// all. Once the session is over, when it will, the inbox has a short time left: the delivery
    /// cannot be settled any more, and others wait for its slot.
    async fn remember(&self, entry: &Entry, notification: &Notification<'_>, task: &Task) {
        let (Some(inbox), message_id) = (&self.inbox, notification.message_id()) else { return };
        if message_id.is_empty() {
            return;
        }
        let method = &entry.name;
        let handled = InboxEntry { message_id, method };
        let inserted = tokio::select! {
            biased;
            inserted = program_code::within(self.limit(entry), || inbox.insert(handled)) => inserted,
            () = ended_for(&task.delivery, REMEMBERED_AFTER_ALL) => {
                Err(Fault::TimedOut(REMEMBERED_AFTER_ALL))
            }
        };
        let error = match inserted {
            Ok(Ok(())) => return,
            Ok(Err(error)) => program_code::text(&error),
            Err(fault) => fault.to_string(),
        };
        tracing::warn!(
            message_id = shortened(message_id, LONGEST_TEXT),
            method,
            error = shortened(&error, LONGEST_TEXT),
            "inbox write failed; the notification may be handled again"
        );
    }

    /// What this notification has in common with others that must not be worked on beside it.
    pub(crate) fn keys_of(&self, notification: &Notification<'_>) -> Keys {
        let mut keys = Vec::new();
        if let Some(order) = &self.order {
            keys.extend(order.of(notification).map(|key| format!("{order}={key}")));
        }
        for entry in self.dispatcher.table().wanting(notification) {
            let Some(order) = &entry.order else { continue };
            let key = order.of(notification);
            keys.extend(key.map(|key| format!("{}:{order}={key}", entry.endpoint)));
        }
        let in_order = !keys.is_empty();
        // Two of one notification at once would both be new to the inbox.
        if self.inbox.is_some() && !notification.message_id().is_empty() {
            keys.push(format!("message_id={}", notification.message_id()));
        }
        Keys { keys, in_order }
    }
}

/// Waits until the session of a delivery has been over for so long.
async fn ended_for(delivery: &Delivery, time: Duration) {
    permit::ended(delivery).await;
    tokio::time::sleep(time).await;
}

/// The log alone has what is forgotten.
fn tell_forgotten(entry: &Entry, failed: &Failed, notification: &Notification<'_>, task: &Task) {
    tracing::error!(
        queue = %task.delivery.info.queue,
        routing_key = %task.copy_headers.origin.routing_key,
        event_type = shortened(notification.event_type().unwrap_or_default(), LONGEST_TEXT),
        message_id = shortened(notification.message_id(), LONGEST_TEXT),
        method = entry.name,
        error = shortened(&failed.text(), LONGEST_ERROR),
        "a method failed, and its failure is forgotten: the notification is lost for it"
    );
}
