//! Runs work that may take long on a thread of the blocking pool, so that it does not block the threads
//! of the program's runtime. Called to open large bodies and to read their order keys.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::dispatch::waiting::Waiting;

/// How long to wait for a thread.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same if there was none the last time.
const LITTLE_PATIENCE: Duration = Duration::from_millis(10);

/// Runs such work.
#[derive(Debug, Default)]
pub(crate) struct Offload {
    /// Whether no thread was free the last time.
    lacks_threads: AtomicBool,
}

impl Offload {
    /// Runs it on a thread of the pool, or in the task of the caller if none is free in time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let waiting = Waiting::new(work);
        let take = waiting.for_thread();
        let mut done = tokio::task::spawn_blocking(move || take().map(|work| work()));
        let was_short = self.lacks_threads.load(Ordering::Relaxed);
        let patience = if was_short { LITTLE_PATIENCE } else { PATIENCE };
        let done = match tokio::time::timeout(patience, &mut done).await {
            Ok(done) => done,
            Err(_) => match waiting.take() {
                Some(work) => {
                    self.report_shortage();
                    return work();
                }
                None => done.await,
            },
        };
        self.lacks_threads.store(false, Ordering::Relaxed);
        match done {
            Ok(Some(done)) => done,
            Err(panicked) if panicked.is_panic() => {
                std::panic::resume_unwind(panicked.into_panic())
            }
            // The runtime shuts down, and this task with it.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    fn report_shortage(&self) {
        if !self.lacks_threads.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                after = ?PATIENCE,
                "a large body is opened on a thread of the program's runtime, because no blocking thread \
                 was free in time; shorten plain `fn`s, or give the runtime more \
                 `max_blocking_threads`"
            );
        }
    }
}
