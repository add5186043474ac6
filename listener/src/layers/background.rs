//! Sends notifications in a task of its own, from a bounded queue: who adds one never waits.
//! The layers next to this file add them. Also the mark that prevents recursion, `is_sending`.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::notification::context::Context;
use crate::notification::priority::Priority;
use crate::notifier::Notifier;
use crate::transport::executor::{self, NoRuntime};

/// Sends notifications in the background: a queue of limited length, and one task of tokio that sends one
/// notification after another. Adding a notification never waits. If the queue is full, or the task's runtime has
/// ended, the notification is dropped and counted; the task logs a warning with the number.
///
/// Cheap to clone; clones share the queue. The task ends when all clones are dropped and the queue is empty.
/// Notifications are lost if the program ends before they are sent: call [`flush`](Self::flush) first.
///
/// ```
/// use listener::layers::BackgroundNotifier;
/// use listener::{Notifier, Transport};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let notifier = Notifier::builder(Transport::open("memory://doc-background")?).build()?;
/// let background = BackgroundNotifier::start(notifier, 1_000)?;
/// // At the end of the program:
/// assert!(background.flush(Duration::from_secs(5)).await);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BackgroundNotifier {
    queue: mpsc::Sender<Job>,
    counters: Arc<Counters>,
}

/// What became of the notifications of a [`BackgroundNotifier`] so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackgroundCounts {
    /// Sent, or stored in the notifier's spool.
    pub sent: u64,
    /// Dropped, because the queue was full or the runtime had ended.
    pub dropped: u64,
    /// Not sent, because the notifier returned an error, which was logged.
    pub failed: u64,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// A notification that waits to be sent.
pub(super) struct Queued {
    pub(super) priority: Priority,
    pub(super) publisher_id: Option<&'static str>,
    pub(super) event_type: &'static str,
    pub(super) payload: Value,
}

enum Job {
    Send(Queued),
    Flush(oneshot::Sender<()>),
}

impl BackgroundNotifier {
    /// Starts the task on the current tokio runtime. `capacity` is the number of notifications that may wait,
    /// at least one.
    ///
    /// # Errors
    /// There is no tokio runtime with timers here.
    pub fn start(notifier: Notifier, capacity: usize) -> Result<Self, NoRuntime> {
        executor::check()?;
        let (queue, jobs) = mpsc::channel(capacity.clamp(1, tokio::sync::Semaphore::MAX_PERMITS));
        let counters = Arc::new(Counters::default());
        tokio::spawn(marked(run(notifier, jobs, counters.clone())));
        Ok(Self { queue, counters })
    }

    /// Adds a notification, or drops and counts it. Never waits; for any thread, with or without a runtime.
    pub(super) fn add(&self, notification: Queued) {
        if self.queue.try_send(Job::Send(notification)).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all notifications that were added before this call are sent or have failed. Returns false if
    /// that takes longer than `timeout`, or the task's runtime has ended.
    #[must_use = "false means that notifications may be lost"]
    pub async fn flush(&self, timeout: Duration) -> bool {
        let flushed = async {
            let (done, wait) = oneshot::channel();
            self.queue.send(Job::Flush(done)).await.is_ok() && wait.await.is_ok()
        };
        tokio::time::timeout(timeout, flushed).await.unwrap_or(false)
    }

    /// The numbers of notifications sent, dropped and failed so far.
    #[must_use]
    pub fn counts(&self) -> BackgroundCounts {
        let Counters { sent, dropped, failed } = &*self.counters;
        let [sent, dropped, failed] = [sent, dropped, failed].map(|n| n.load(Ordering::Relaxed));
        BackgroundCounts { sent, dropped, failed }
    }
}

impl fmt::Debug for BackgroundNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundNotifier").field("counts", &self.counts()).finish()
    }
}

async fn run(notifier: Notifier, mut jobs: mpsc::Receiver<Job>, counters: Arc<Counters>) {
    let mut reported = 0;
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Send(queued) => send(&notifier, queued, &counters).await,
            Job::Flush(done) => drop(done.send(())),
        }
        let dropped = counters.dropped.load(Ordering::Relaxed);
        if dropped > reported {
            let since = dropped - reported;
            warn!(
                dropped = since,
                total = dropped,
                "the queue was full: notifications are dropped"
            );
            reported = dropped;
        }
    }
}

async fn send(notifier: &Notifier, queued: Queued, counters: &Counters) {
    let Queued { priority, publisher_id, event_type, payload } = queued;
    let own = publisher_id.map(|publisher_id| notifier.with_publisher_id(publisher_id));
    let notifier = own.as_ref().unwrap_or(notifier);
    match notifier.notify(priority, &Context::new(), event_type, &payload).await {
        Ok(_) => counters.sent.fetch_add(1, Ordering::Relaxed),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            warn!(error, event_type, "a notification in the background is not sent");
            counters.failed.fetch_add(1, Ordering::Relaxed)
        }
    };
}

thread_local! {
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is executing the task that sends. What is logged then must not be sent again. True
/// while the thread's storage is being destroyed.
pub(super) fn is_sending() -> bool {
    SENDING.try_with(Cell::get).unwrap_or(true)
}

/// Removes the mark also when a poll panics.
struct Mark;

impl Drop for Mark {
    fn drop(&mut self) {
        SENDING.set(false);
    }
}

/// Marks the thread while it polls the future.
async fn marked<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        SENDING.set(true);
        let _mark = Mark;
        future.as_mut().poll(cx)
    })
    .await
}
