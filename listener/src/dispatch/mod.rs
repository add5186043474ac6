//! Finds the methods that want a notification, and calls one of them. `runtime` calls them in order for a
//! delivery and acts on their results.

pub(crate) mod contained;
mod index;
mod scope;
pub(crate) mod table;
pub(crate) mod waiting;

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, poll};

use crate::batch::{self, outcome::BatchResult};
use crate::dispatch::contained::contained;
use crate::dispatch::table::{Entry, Table};
use crate::dispatch::waiting::Waiting;
use crate::endpoint::Bound;
use crate::notification::Notification;
use crate::notification::owned::OwnedNotification;
use crate::outcome::{Failure, MethodResult};
use crate::redact::panic_message;

/// Calls the methods of a table.
#[derive(Debug)]
pub struct Dispatcher {
    table: Table,
    /// How many plain `fn`s run at present, including abandoned ones.
    blocking: Arc<AtomicUsize>,
}

impl Dispatcher {
    /// A dispatcher over this table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table, blocking: Arc::default() }
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// How many plain `fn`s run at present, including abandoned ones, which cannot be cancelled.
    #[must_use]
    pub fn blocking(&self) -> usize {
        self.blocking.load(Ordering::SeqCst)
    }

    /// Calls a method once. A panic is a failure, and so is a call that does not return within `timeout`,
    /// even if it panics when it is dropped. A plain `fn` waits for a thread; it is not called if this
    /// future is dropped by then, or if `may_begin` returns false: then there is no result.
    ///
    /// # Errors
    /// The failure.
    pub async fn call(
        &self,
        entry: &Entry,
        notification: &Notification<'_>,
        timeout: Duration,
        may_begin: impl FnOnce() -> bool + Send + 'static,
    ) -> Option<MethodResult> {
        let waiting = entry.blocking.then(|| Waiting::new(OwnedNotification::new(notification)));
        let called = async {
            match &waiting {
                Some(waiting) => {
                    let method = entry.method;
                    let call = move |endpoint: &Bound, owned: &OwnedNotification| {
                        ready(endpoint.call(method, &owned.borrow()))
                    };
                    let called = self.call_on_thread(entry, waiting, may_begin, call).await?;
                    Some(called.unwrap_or_else(Err))
                }
                None => Some(self.call_async(entry, notification).await),
            }
        };
        let mut called = pin!(called);
        // No timer for calls that return at once.
        if let Poll::Ready(result) = poll!(called.as_mut()) {
            return result;
        }
        if let Ok(called) = tokio::time::timeout(timeout, called).await {
            return called;
        }
        if waiting.as_ref().and_then(Waiting::take).is_some() {
            tracing::warn!(
                method = entry.name,
                ?timeout,
                "a plain `fn` was not called: no thread was free in time; make the others return \
                 earlier, or give the runtime more `max_blocking_threads`"
            );
        }
        Some(Err(Failure::Timeout(timeout)))
    }

    /// Calls a method that takes a batch. As `call`, for all of its notifications: if it panics or does not
    /// return in time, each has that failure.
    ///
    /// # Errors
    /// The notifications, if it may not begin.
    pub(crate) async fn call_batch(
        &self,
        entry: &Entry,
        notifications: Vec<OwnedNotification>,
        timeout: Duration,
        may_begin: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<BatchResult, Vec<OwnedNotification>> {
        let count = notifications.len();
        let failed = |failure| Ok(batch::outcome::failed(failure, count));
        if entry.blocking {
            let waiting = Waiting::new(notifications);
            let method = entry.method;
            let call = move |endpoint: &Bound, owned: &Vec<OwnedNotification>| {
                ready(endpoint.call_batch(method, &borrowed(owned)))
            };
            let called = self.call_on_thread(entry, &waiting, may_begin, call);
            return match tokio::time::timeout(timeout, called).await {
                Ok(Some(Ok(results))) => Ok(results),
                Ok(Some(Err(failure))) => failed(failure),
                Ok(None) => Err(waiting.take().unwrap_or_default()),
                Err(_) => failed(Failure::Timeout(timeout)),
            };
        }
        let borrowed = borrowed(&notifications);
        let endpoint = &self.table.endpoints()[entry.endpoint];
        let called = contained(|| endpoint.call_batch(entry.method, &borrowed));
        match tokio::time::timeout(timeout, called).await {
            Ok(Ok(results)) => Ok(results),
            Ok(Err(panic)) => failed(panicked(panic)),
            Err(_) => failed(Failure::Timeout(timeout)),
        }
    }

    async fn call_async(&self, entry: &Entry, notification: &Notification<'_>) -> MethodResult {
        let endpoint = &self.table.endpoints()[entry.endpoint];
        let called = contained(|| endpoint.call(entry.method, notification)).await;
        called.unwrap_or_else(|panic| Err(panicked(panic)))
    }

    /// A plain `fn` may block, so it runs on a thread of the blocking pool, with an input of its own: the caller
    /// can stop waiting for it. `None`: it may not begin, and the input is not taken.
    async fn call_on_thread<I: Send + 'static, R: Send + 'static>(
        &self,
        entry: &Entry,
        waiting: &Waiting<I>,
        may_begin: impl FnOnce() -> bool + Send + 'static,
        call: impl FnOnce(&Bound, &I) -> R + Send + 'static,
    ) -> Option<Result<R, Failure>> {
        let endpoint = self.table.endpoints()[entry.endpoint].clone();
        let blocking = Arc::clone(&self.blocking);
        let take = waiting.for_thread();
        let called = tokio::task::spawn_blocking(move || {
            let _running = Running::count(&blocking);
            let input = may_begin().then(take).flatten()?;
            Some(call(&endpoint, &input))
        });
        match called.await {
            Ok(called) => called.map(Ok),
            Err(error) => Some(Err(error
                .try_into_panic()
                .map_or_else(|error| Failure::Panic(error.to_string()), panicked))),
        }
    }
}

/// The result of a plain `fn`: its future is ready at once.
fn ready<T>(future: BoxFuture<'_, T>) -> T {
    future.now_or_never().expect("the future of a plain fn is ready at once")
}

fn borrowed(notifications: &[OwnedNotification]) -> Vec<Notification<'_>> {
    notifications.iter().map(OwnedNotification::borrow).collect()
}

/// Counts a running call until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Failure {
    Failure::Panic(panic_message(panic))
}
