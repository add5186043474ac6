//! The gate that every method passes before it starts. Closed while a suspect moves between queues or is
//! handled for the last time. Closed by `isolation.rs` and `settle/send_attempts.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

/// Keeps methods from starting in two situations. While a copy of a suspect is confirmed and its original
/// is not acknowledged yet: if the process ended then, both would exist. And while a suspect is handled
/// for the last time: if another method ended the process, the suspect would be blamed. Waiting
/// deliveries may hold slots, so nothing waits for a slot while it keeps the gate closed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many guards keep it closed.
    guards: AtomicUsize,
    /// The number of running methods.
    running: AtomicUsize,
    changed: Notify,
}

/// Keeps the gate closed until dropped.
#[derive(Debug)]
pub(crate) struct GateGuard(Gate);

/// The gate, closed by one suspect for all others, for a limited time.
#[derive(Debug)]
pub(crate) struct ExclusiveAccess {
    closed: Weak<GateGuard>,
    /// Dropped when the suspect is settled or waits.
    _over: DropGuard,
}

/// Counts a running method.
#[derive(Debug)]
pub(crate) struct RunningMethod<'g>(&'g Gate);

/// For which delivery the gate is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Normal,
    /// For the suspect that keeps it closed.
    Exclusive,
}

impl Gate {
    pub(crate) fn close(&self) -> GateGuard {
        // Sequentially consistent with `RunningMethod`: either the method sees the closed gate, or the gate counts
        // the method.
        self.0.guards.fetch_add(1, Ordering::SeqCst);
        GateGuard(self.clone())
    }

    pub(crate) fn is_open(&self, passage: Passage) -> bool {
        self.0.guards.load(Ordering::SeqCst) <= usize::from(passage == Passage::Exclusive)
    }

    /// Waits until it is open.
    pub(crate) async fn wait_open(&self, passage: Passage) {
        self.until(|| self.is_open(passage)).await;
    }

    /// Waits until it is open, and passes.
    pub(crate) async fn enter(&self, passage: Passage) -> RunningMethod<'_> {
        loop {
            self.wait_open(passage).await;
            self.0.running.fetch_add(1, Ordering::SeqCst);
            let entered = RunningMethod(self);
            if self.is_open(passage) {
                return entered;
            }
        }
    }

    /// Waits until no method is running.
    pub(crate) async fn wait_empty(&self) {
        self.until(|| self.running() == 0).await;
    }

    /// How many methods are running.
    pub(crate) fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        while !condition() {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Registered first, so that a change right after the check is not missed.
            changed.as_mut().enable();
            if !condition() {
                changed.await;
            }
        }
    }
}

impl ExclusiveAccess {
    pub(crate) fn new(closed: &Arc<GateGuard>, over: DropGuard) -> Self {
        Self { closed: Arc::downgrade(closed), _over: over }
    }

    /// The passage for the methods of that suspect. Normal once the time limit is over.
    pub(crate) fn passage(&self) -> Passage {
        if self.closed.strong_count() > 0 { Passage::Exclusive } else { Passage::Normal }
    }
}

impl Drop for GateGuard {
    fn drop(&mut self) {
        let Gate(state) = &self.0;
        state.guards.fetch_sub(1, Ordering::SeqCst);
        state.changed.notify_waiters();
    }
}

impl Drop for RunningMethod<'_> {
    fn drop(&mut self) {
        let Gate(state) = self.0;
        state.running.fetch_sub(1, Ordering::SeqCst);
        if !self.0.is_open(Passage::Normal) {
            state.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: std::time::Duration = std::time::Duration::from_secs(1);

    async fn waits(future: impl Future) -> bool {
        tokio::time::timeout(SHORT, future).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_opens_once_nothing_keeps_it_closed() {
        let gate = Gate::default();
        gate.wait_open(Passage::Normal).await;
        let (first, second) = (gate.close(), gate.close());
        assert!(waits(gate.wait_open(Passage::Normal)).await);
        assert!(waits(gate.wait_open(Passage::Exclusive)).await);
        drop(first);
        assert!(waits(gate.wait_open(Passage::Normal)).await);
        gate.wait_open(Passage::Exclusive).await;
        drop(second);
        gate.wait_open(Passage::Normal).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_holder_of_a_closed_gate_can_wait_for_running_methods() {
        let gate = Gate::default();
        let (first, second) =
            (gate.enter(Passage::Normal).await, gate.enter(Passage::Normal).await);
        let closed = gate.close();
        assert!(waits(gate.enter(Passage::Normal)).await);
        assert!(waits(gate.wait_empty()).await);
        drop(first);
        assert!(waits(gate.wait_empty()).await);
        let left = async { tokio::join!(gate.wait_empty(), async { drop(second) }) };
        assert!(!waits(left).await);
        drop(gate.enter(Passage::Exclusive).await);
        gate.wait_empty().await;
        drop(closed);
        gate.enter(Passage::Normal).await;
    }
}
