//! The walk of one notification over the methods that want it: filter, call, outcome. What
//! is decided from the outcomes is in `runtime/failure.rs`.

mod scope;
pub mod table;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::table::{Entry, Table};
use crate::notification::Notification;
use crate::outcome::{Failure, MethodResult, Outcome};

/// How often a method that says `Retry` is called again, and after which pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// How often a method is called for one delivery, the first call included.
    pub attempts: u32,
    /// The pause before the second call; it doubles before each further one.
    pub pause: Duration,
    /// The longest of these pauses.
    pub max_pause: Duration,
    /// How long a delivery may be held for its retries altogether. A pause that would end
    /// later is not begun: the delivery goes to the dead letters. RabbitMQ takes back what is
    /// unsettled for 30 minutes.
    pub hold: Duration,
}

/// What came of a walk. A method that handled the notification leaves no trace but the count.
#[derive(Debug, Default)]
pub struct Walk {
    /// How many methods handled it.
    pub handled: usize,
    /// Those that did not, in the order in which they ran.
    pub failed: Vec<(String, Failed)>,
    /// Whether a method gave the whole delivery back, and so ended the walk.
    pub requeued: bool,
    /// Whether the listener stopped, or the session ended, during a pause of the walk.
    pub interrupted: bool,
}

/// How a method did not handle a notification.
#[derive(Debug)]
pub enum Failed {
    /// An error, a panic, or an argument that could not be made.
    Failure(Failure),
    /// It gave the notification up, with this reason.
    GivenUp(String),
    /// It asked for one more attempt than there are.
    Retries(u32),
    /// It asked for a pause that would hold the delivery for longer than this.
    TooLong(Duration),
    /// It gave the delivery back, and may not.
    RequeueNotAllowed,
}

/// Walks notifications over a table.
#[derive(Debug)]
pub struct Dispatcher {
    table: Table,
    retry: RetryOptions,
    allow_requeue: bool,
}

/// What ends a pause of a walk: the listener stops, or the delivery is no longer ours.
#[derive(Clone, Copy)]
pub struct Patience<'p> {
    /// Cancelled when the listener stops.
    pub stop: &'p CancellationToken,
    /// Whether the session that delivered it is over.
    pub is_over: &'p (dyn Fn() -> bool + Send + Sync),
}

impl Dispatcher {
    /// A dispatcher over this table.
    #[must_use]
    pub const fn new(table: Table, retry: RetryOptions, allow_requeue: bool) -> Self {
        Self { table, retry, allow_requeue }
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Calls every method that wants the notification, in order. A failure does not keep the
    /// others from running; `Requeue`, where it is allowed, does.
    pub async fn walk(&self, notification: &Notification<'_>, patience: Patience<'_>) -> Walk {
        let mut walk = Walk::default();
        for entry in self.table.wanting(notification) {
            match self.call(entry, notification, patience).await {
                Called::Handled => walk.handled += 1,
                Called::Failed(failed) => walk.failed.push((entry.name.clone(), failed)),
                Called::Requeued if self.allow_requeue => {
                    walk.requeued = true;
                    return walk;
                }
                Called::Requeued => {
                    walk.failed.push((entry.name.clone(), Failed::RequeueNotAllowed));
                }
                Called::Interrupted => {
                    walk.interrupted = true;
                    return walk;
                }
            }
        }
        walk
    }

    async fn call(
        &self,
        entry: &Entry,
        notification: &Notification<'_>,
        patience: Patience<'_>,
    ) -> Called {
        let began = Instant::now();
        let mut pause = self.retry.pause;
        for attempt in 1.. {
            notification.set_attempt(attempt);
            let after = match self.call_once(entry, notification).await {
                Ok(Outcome::Handled) => return Called::Handled,
                Ok(Outcome::Requeue) => return Called::Requeued,
                Ok(Outcome::DeadLetter(reason)) => {
                    return Called::Failed(Failed::GivenUp(reason.into_owned()));
                }
                Ok(Outcome::Retry { .. }) if attempt >= self.retry.attempts => break,
                Ok(Outcome::Retry { after }) => after.unwrap_or(pause),
                Err(failure) => return Called::Failed(Failed::Failure(failure)),
            };
            if began.elapsed().saturating_add(after) > self.retry.hold {
                return Called::Failed(Failed::TooLong(self.retry.hold));
            }
            let paused = patience.stop.run_until_cancelled(tokio::time::sleep(after)).await;
            if paused.is_none() || (patience.is_over)() {
                return Called::Interrupted;
            }
            pause = self.retry.max_pause.min(pause.saturating_mul(2));
        }
        Called::Failed(Failed::Retries(self.retry.attempts))
    }

    async fn call_once(&self, entry: &Entry, notification: &Notification<'_>) -> MethodResult {
        let endpoint = &self.table.endpoints()[entry.endpoint];
        if !entry.blocking {
            let call = AssertUnwindSafe(async { endpoint.call(entry.method, notification).await });
            return call.catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)));
        }
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            // The only thread must stay free, so the call moves to another, with a copy.
            let (endpoint, method, owned) =
                (endpoint.clone(), entry.method, notification.to_owned());
            let call = tokio::task::spawn_blocking(move || {
                let notification = owned.borrow();
                endpoint.call(method, &notification).now_or_never()
            });
            return match call.await {
                Ok(result) => result.expect("a plain fn is done when its call returns"),
                Err(error) => Err(error.try_into_panic().map_or_else(
                    |error| Failure::Panic(error.to_string()),
                    |panic| panicked(&*panic),
                )),
            };
        }
        let call = AssertUnwindSafe(|| {
            tokio::task::block_in_place(|| endpoint.call(entry.method, notification).now_or_never())
        });
        match std::panic::catch_unwind(call) {
            Ok(result) => result.expect("a plain fn is done when its call returns"),
            Err(panic) => Err(panicked(&*panic)),
        }
    }
}

enum Called {
    Handled,
    Failed(Failed),
    Requeued,
    Interrupted,
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    Failure::Panic(panic_message(panic))
}

/// What a panic said.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "a value that is no text".to_owned())
}
