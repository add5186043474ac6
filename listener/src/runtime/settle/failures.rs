//! The copies that cannot be made at present: their methods are paused, and the listener is not ready.
//! Kept by `send_attempts.rs`, reported to observers and in the listener's health.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::observer::{Event, Observers};
use crate::runtime::health::Pause;

/// The copies that cannot be made at present.
#[derive(Debug, Default)]
pub(crate) struct CopyFailures {
    state: Mutex<FailureState>,
    /// Whether there are any: checked before each call.
    has_any: AtomicBool,
    /// Whether any queue is reported as paused: checked after each copy.
    has_reported: AtomicBool,
    ended: Notify,
}

#[derive(Debug, Default)]
struct FailureState {
    last: u64,
    by_number: BTreeMap<u64, CopyFailure>,
    /// How many of them each method waits for: checked before each call.
    by_method: HashMap<String, usize>,
    /// The queues that are reported as paused, and not yet as resumed.
    reported: BTreeSet<String>,
}

#[derive(Debug)]
struct CopyFailure {
    queue: String,
    methods: Vec<String>,
    reason: String,
    since: Instant,
}

/// A copy that cannot be made, until this is dropped.
pub(crate) struct FailureGuard<'f> {
    failures: &'f CopyFailures,
    number: u64,
}

impl CopyFailures {
    pub(crate) fn start(&self, queue: &str, methods: &[String]) -> FailureGuard<'_> {
        let failure = CopyFailure {
            queue: queue.to_owned(),
            methods: methods.to_vec(),
            reason: String::new(),
            since: Instant::now(),
        };
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        for method in methods {
            *state.by_method.entry(method.clone()).or_default() += 1;
        }
        state.by_number.insert(number, failure);
        self.has_any.store(true, Ordering::Release);
        FailureGuard { failures: self, number }
    }

    /// A copy was made.
    pub(crate) fn copy_made(&self, queue: &str, observers: &Observers) {
        if !self.has_reported.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.lock();
        // Other copies may still wait: one that fails again is reported again.
        let is_over = state.reported.remove(queue);
        self.has_reported.store(!state.reported.is_empty(), Ordering::Release);
        drop(state);
        if is_over {
            observers.report(&Event::Resumed { queue });
        }
    }

    pub(crate) async fn wait_until_resumed(&self, method: &str) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Registered first, so that one that ends right after the check is not missed.
            ended.as_mut().enable();
            if !self.lock().by_method.contains_key(method) {
                return;
            }
            ended.await;
        }
    }

    /// One pause for each queue, with all methods that wait for it.
    pub(crate) fn paused(&self) -> Vec<Pause> {
        let mut pauses: BTreeMap<String, Pause> = BTreeMap::new();
        for failure in self.lock().by_number.values() {
            let since = failure.since.elapsed();
            let pause = pauses.entry(failure.queue.clone()).or_insert_with(|| Pause {
                queue: failure.queue.clone(),
                methods: Vec::new(),
                reason: String::new(),
                elapsed: since,
            });
            pause.elapsed = pause.elapsed.max(since);
            pause.reason.clone_from(&failure.reason);
            pause.methods.extend(failure.methods.iter().cloned());
            pause.methods.sort();
            pause.methods.dedup();
        }
        pauses.into_values().collect()
    }

    /// Whether some copies cannot be made at present.
    pub(crate) fn has_failures(&self) -> bool {
        self.has_any.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, FailureState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureGuard<'_> {
    pub(crate) fn report(&self, reason: &str, observers: &Observers) {
        let mut state = self.failures.lock();
        let Some(failure) = state.by_number.get_mut(&self.number) else { return };
        reason.clone_into(&mut failure.reason);
        let queue = failure.queue.clone();
        let is_new = state.reported.insert(queue.clone());
        self.failures.has_reported.store(true, Ordering::Release);
        drop(state);
        if is_new {
            observers.report(&Event::Paused { queue: &queue, reason });
        }
    }
}

impl Drop for FailureGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.failures.lock();
        let ended = state.by_number.remove(&self.number);
        for method in ended.iter().flat_map(|failure| &failure.methods) {
            match state.by_method.get_mut(method) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(state.by_method.remove(method)),
            }
        }
        self.failures.has_any.store(!state.by_number.is_empty(), Ordering::Release);
        drop(state);
        self.failures.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_method_waits_for_its_own_copies_only() {
        let (failures, observers) = (CopyFailures::default(), Observers::default());
        let full = failures.start("q.dead", &["a".to_owned()]);
        full.report("it is full", &observers);
        let long = Duration::from_secs(60);
        failures.wait_until_resumed("b").await;
        assert!(tokio::time::timeout(long, failures.wait_until_resumed("a")).await.is_err());
        assert_eq!(
            failures.paused(),
            [Pause {
                queue: "q.dead".to_owned(),
                methods: vec!["a".to_owned()],
                reason: "it is full".to_owned(),
                elapsed: long,
            }]
        );
        drop(full);
        failures.wait_until_resumed("a").await;
        assert_eq!(failures.paused(), []);
    }
}
