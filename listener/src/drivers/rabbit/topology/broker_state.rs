//! What a driver knows of its broker for longer than a session. The properties of other programs' queues
//! and exchanges: transient ones vanish with the broker, and if this process declares them first, it
//! must declare them as they were, or their owners are refused. When each queue was first seen, and
//! which features are disabled. Owned by `core.rs`, used by the folders above; it depends on
//! `properties.rs` only.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::properties::{Lifetime, QueueProperties};

/// How long after its declaration a queue may be lost in a crash of the broker. RabbitMQ persists that a
/// queue exists later than its messages: until then the queue is missing or empty after a crash,
/// whatever was confirmed. Observed of quorum queues whenever the broker is killed within half a second,
/// and occasionally of classic queues.
const PERSISTED_AFTER: Duration = Duration::from_secs(2);

/// What a feature flag enables; an upgrade of RabbitMQ may leave it disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Feature {
    QuorumQueues,
    Streams,
}

#[derive(Debug, Default)]
pub(crate) struct BrokerState {
    seen: Mutex<State>,
    /// The warning that transient queues lose messages was logged.
    warned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    exchanges: HashMap<String, Lifetime>,
    queues: HashMap<String, QueueProperties>,
    /// The last queue that other programs declare as well.
    shared: Option<QueueProperties>,
    /// When each queue was first seen since the last connection for sending was lost.
    first: HashMap<String, Instant>,
    /// When this process declared a queue.
    declared: HashMap<String, Instant>,
    /// Queues for copies that contained a message.
    used: HashSet<String>,
    /// Queues of subscriptions whose permissions were checked.
    checked_permissions: HashSet<String>,
    /// Queues whose consumer was refused, the latest first.
    failed: Vec<Arc<str>>,
    /// Queues that a consumer of this process declares and binds.
    consumed: HashSet<String>,
    disabled: HashSet<Feature>,
}

impl BrokerState {
    fn seen(&self) -> MutexGuard<'_, State> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lifetime of an exchange, when it was last seen.
    pub(crate) fn exchange(&self, name: &str) -> Option<Lifetime> {
        self.seen().exchanges.get(name).copied()
    }

    pub(crate) fn see_exchange(&self, name: &str, lifetime: Lifetime) {
        self.seen().exchanges.insert(name.to_owned(), lifetime);
    }

    /// The properties of a queue, when it was last seen.
    pub(crate) fn queue(&self, name: &str) -> Option<QueueProperties> {
        self.seen().queues.get(name).copied()
    }

    /// Whether it may be a quorum queue.
    pub(crate) fn may_be_quorum(&self, name: &str) -> bool {
        self.queue(name).and_then(QueueProperties::is_quorum) != Some(false)
    }

    pub(crate) fn see_queue(&self, name: &str, queue: QueueProperties) {
        let mut seen = self.seen();
        seen.queues.insert(name.to_owned(), queue);
        seen.first.entry(name.to_owned()).or_insert_with(Instant::now);
    }

    /// The properties of a queue that other programs declare as well, if one was seen.
    pub(crate) fn shared(&self) -> Option<QueueProperties> {
        self.seen().shared
    }

    pub(crate) fn see_shared(&self, queue: QueueProperties) {
        self.seen().shared = Some(queue);
    }

    /// Records that this process has just declared a queue.
    pub(crate) fn record_declaration(&self, name: &str) {
        let mut seen = self.seen();
        seen.used.remove(name);
        seen.first.insert(name.to_owned(), Instant::now());
        seen.declared.insert(name.to_owned(), Instant::now());
    }

    /// Records that a queue for copies contains a message: only listeners publish to it, and only once
    /// it is persisted.
    pub(crate) fn record_message(&self, name: &str) {
        self.seen().used.insert(name.to_owned());
    }

    /// Records that a queue is missing: it will be a new one, whoever declares it.
    pub(crate) fn record_missing(&self, name: &str) {
        let mut seen = self.seen();
        seen.used.remove(name);
        seen.first.remove(name);
    }

    /// Records a new connection for sending: since the last one was lost, any queue may have vanished,
    /// and another process may have declared it again.
    pub(crate) fn connected_again(&self) {
        let mut seen = self.seen();
        seen.used.clear();
        seen.first.clear();
    }

    /// Records queues that a consumer of this process declares and binds.
    pub(crate) fn consumes<'q>(&self, queues: impl IntoIterator<Item = &'q String>) {
        self.seen().consumed.extend(queues.into_iter().cloned());
    }

    /// Whether a consumer declares and binds a queue if it is missing.
    pub(crate) fn is_consumed(&self, name: &str) -> bool {
        self.seen().consumed.contains(name)
    }

    /// How long to wait before a queue can be relied on: it may be new, declared by any process.
    pub(crate) fn until_persisted(&self, name: &str) -> Duration {
        let now = Instant::now();
        let mut seen = self.seen();
        if seen.used.contains(name) {
            return Duration::ZERO;
        }
        let first = *seen.first.entry(name.to_owned()).or_insert(now);
        PERSISTED_AFTER.saturating_sub(now - first)
    }

    /// As `until_persisted`, for a queue that other programs declare without such a wait: it counts as new only
    /// if this process has declared it.
    pub(crate) fn until_own_persisted(&self, name: &str) -> Duration {
        let declared = self.seen().declared.get(name).copied();
        declared
            .map_or(Duration::ZERO, |declared| PERSISTED_AFTER.saturating_sub(declared.elapsed()))
    }

    /// Records that a queue could not be consumed.
    pub(crate) fn failed_to_consume(&self, queue: &Arc<str>) {
        let mut seen = self.seen();
        seen.failed.retain(|other| other != queue);
        seen.failed.insert(0, Arc::clone(queue));
    }

    /// The order in which to consume these queues, as indices: those that could not be consumed before
    /// come first. None is forgotten, so queues that fail alternately are all at the front.
    pub(crate) fn failed_first(&self, queues: &[Arc<str>]) -> Vec<usize> {
        let seen = self.seen();
        let rank = |at: &usize| seen.failed.iter().position(|queue| *queue == queues[*at]);
        let mut order: Vec<usize> = (0..queues.len()).collect();
        order.sort_by_key(|at| rank(at).unwrap_or(usize::MAX));
        order
    }

    /// Records that the permissions for copies of this queue are checked. Returns whether that is the first
    /// time; an attempt to attach may fail after it.
    pub(crate) fn record_permission_check(&self, queue: &str) -> bool {
        self.seen().checked_permissions.insert(queue.to_owned())
    }

    /// Records a warning. Returns whether it is the first one.
    pub(crate) fn record_warning(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// Records that a feature is disabled. A declaration that needs it ends the connection, so it is not
    /// repeated.
    pub(crate) fn disable(&self, feature: Feature) {
        self.seen().disabled.insert(feature);
    }

    /// Whether a feature is not known to be disabled.
    pub(crate) fn has(&self, feature: Feature) -> bool {
        !self.seen().disabled.contains(&feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disabled_feature_stays_disabled() {
        let state = BrokerState::default();
        assert!(state.has(Feature::QuorumQueues) && state.has(Feature::Streams));
        state.disable(Feature::QuorumQueues);
        assert!(!state.has(Feature::QuorumQueues) && state.has(Feature::Streams));
    }

    #[test]
    fn queues_that_could_not_be_consumed_come_first() {
        let state = BrokerState::default();
        let queues = ["a", "b", "c"].map(Arc::<str>::from);
        assert_eq!(state.failed_first(&queues), [0, 1, 2]);
        state.failed_to_consume(&queues[1]);
        state.failed_to_consume(&queues[2]);
        assert_eq!(state.failed_first(&queues), [2, 1, 0]);
        state.failed_to_consume(&queues[1]);
        assert_eq!(state.failed_first(&queues), [1, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_persisted_some_time_after_it_was_first_seen() {
        let state = BrokerState::default();
        let second = Duration::from_secs(1);
        assert_eq!(state.until_persisted("q"), 2 * second);
        tokio::time::advance(second).await;
        assert_eq!(state.until_persisted("q"), second);
        tokio::time::advance(second).await;
        assert_eq!(state.until_persisted("q"), Duration::ZERO);
        // Deleted meanwhile, and declared again.
        state.record_declaration("q");
        assert_eq!(state.until_persisted("q"), 2 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_for_copies_with_a_message_is_persisted_unless_it_is_declared_again() {
        let state = BrokerState::default();
        state.record_message("q.dead");
        assert_eq!(state.until_persisted("q.dead"), Duration::ZERO);
        state.record_declaration("q.dead");
        assert_eq!(state.until_persisted("q.dead"), PERSISTED_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_may_have_been_declared_again_is_waited_for_again() {
        let state = BrokerState::default();
        let forget: [fn(&BrokerState); 2] =
            [|state| state.record_missing("q.dead"), BrokerState::connected_again];
        for forget in forget {
            assert_eq!(state.until_persisted("q.dead"), PERSISTED_AFTER);
            tokio::time::advance(PERSISTED_AFTER).await;
            state.record_message("q.dead");
            assert_eq!(state.until_persisted("q.dead"), Duration::ZERO);
            forget(&state);
        }
        assert_eq!(state.until_persisted("q.dead"), PERSISTED_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_queue_is_waited_for_only_if_this_process_declared_it() {
        let state = BrokerState::default();
        state.see_queue("q", QueueProperties::default());
        assert_eq!(state.until_own_persisted("q"), Duration::ZERO);
        state.record_declaration("q");
        assert_eq!(state.until_own_persisted("q"), PERSISTED_AFTER);
        tokio::time::advance(PERSISTED_AFTER).await;
        assert_eq!(state.until_own_persisted("q"), Duration::ZERO);
    }
}
