//! Work that may take long, done where it keeps no thread of the program's runtime from other
//! tasks: on a thread of the blocking pool, for as long as plain `fn`s leave one. Called to open
//! large bodies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::dispatch::waiting::Waiting;

/// How long a thread is waited for, and how long where there was none the last time.
const PATIENCE: Duration = Duration::from_secs(1);
const LITTLE_PATIENCE: Duration = Duration::from_millis(10);

/// Who does such work.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    /// Whether there was no thread the last time.
    is_short: AtomicBool,
}

impl Apart {
    /// Does it, and in the task of the caller if no thread is free in time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let waiting = Waiting::new(work);
        let take = waiting.for_thread();
        let mut done = tokio::task::spawn_blocking(move || take().map(|work| work()));
        let was_short = self.is_short.load(Ordering::Relaxed);
        let patience = if was_short { LITTLE_PATIENCE } else { PATIENCE };
        let done = match tokio::time::timeout(patience, &mut done).await {
            Ok(done) => done,
            Err(_) => match waiting.take() {
                Some(work) => {
                    self.tell_short();
                    return work();
                }
                None => done.await,
            },
        };
        self.is_short.store(false, Ordering::Relaxed);
        match done {
            Ok(Some(done)) => done,
            Err(panicked) if panicked.is_panic() => {
                std::panic::resume_unwind(panicked.into_panic())
            }
            // The runtime ends, and this task with it.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    fn tell_short(&self) {
        if !self.is_short.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                after = ?PATIENCE,
                "a body that takes long is opened on a thread of the program's runtime: no other one \
                 was free for it in time; let plain `fn`s end in time, or give the runtime more \
                 `max_blocking_threads`"
            );
        }
    }
}
