//! The copies that cannot be made at present: their methods are paused, and the listener is not ready.
//! Kept by `attempts.rs`, reported to observers and in the listener's health.

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
    open: Mutex<Open>,
    /// Whether there are any: checked before each call.
    any: AtomicBool,
    /// Whether any queue is reported as paused: checked after each copy.
    any_reported: AtomicBool,
    over: Notify,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    by_number: BTreeMap<u64, Failure>,
    /// How many of them each method waits for: checked before each call.
    by_method: HashMap<String, usize>,
    /// The queues that are reported as paused, and not yet as resumed.
    reported: BTreeSet<String>,
}

#[derive(Debug)]
struct Failure {
    queue: String,
    methods: Vec<String>,
    reason: String,
    since: Instant,
}

/// A copy that cannot be made, until this is dropped.
pub(crate) struct FailureGuard<'t> {
    failures: &'t CopyFailures,
    number: u64,
}

impl CopyFailures {
    pub(crate) fn begin(&self, queue: &str, methods: &[String]) -> FailureGuard<'_> {
        let failure = Failure {
            queue: queue.to_owned(),
            methods: methods.to_vec(),
            reason: String::new(),
            since: Instant::now(),
        };
        let mut open = self.lock();
        open.last += 1;
        let number = open.last;
        for method in methods {
            *open.by_method.entry(method.clone()).or_default() += 1;
        }
        open.by_number.insert(number, failure);
        self.any.store(true, Ordering::Release);
        FailureGuard { failures: self, number }
    }

    /// A copy was made.
    pub(crate) fn made(&self, queue: &str, observers: &Observers) {
        if !self.any_reported.load(Ordering::Acquire) {
            return;
        }
        let mut open = self.lock();
        // Other copies may still wait: one that fails again is reported again.
        let is_over = open.reported.remove(queue);
        self.any_reported.store(!open.reported.is_empty(), Ordering::Release);
        drop(open);
        if is_over {
            observers.report(&Event::Resumed { queue });
        }
    }

    pub(crate) async fn resumed(&self, method: &str) {
        loop {
            let mut over = std::pin::pin!(self.over.notified());
            // Registered first, so that one that ends right after the check is not missed.
            over.as_mut().enable();
            if !self.lock().by_method.contains_key(method) {
                return;
            }
            over.await;
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
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureGuard<'_> {
    pub(crate) fn report(&self, reason: &str, observers: &Observers) {
        let mut open = self.failures.lock();
        let Some(failure) = open.by_number.get_mut(&self.number) else { return };
        reason.clone_into(&mut failure.reason);
        let queue = failure.queue.clone();
        let is_new = open.reported.insert(queue.clone());
        self.failures.any_reported.store(true, Ordering::Release);
        drop(open);
        if is_new {
            observers.report(&Event::Paused { queue: &queue, reason });
        }
    }
}

impl Drop for FailureGuard<'_> {
    fn drop(&mut self) {
        let mut open = self.failures.lock();
        let ended = open.by_number.remove(&self.number);
        for method in ended.iter().flat_map(|failure| &failure.methods) {
            match open.by_method.get_mut(method) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(open.by_method.remove(method)),
            }
        }
        self.failures.any.store(!open.by_number.is_empty(), Ordering::Release);
        drop(open);
        self.failures.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_method_waits_for_its_own_copies_only() {
        let (failures, observers) = (CopyFailures::default(), Observers::default());
        let full = failures.begin("q.dead", &["a".to_owned()]);
        full.report("it is full", &observers);
        let long = Duration::from_secs(60);
        failures.resumed("b").await;
        assert!(tokio::time::timeout(long, failures.resumed("a")).await.is_err());
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
        failures.resumed("a").await;
        assert_eq!(failures.paused(), []);
    }
}
