//! What was learnt of a broker and outlives a session. What exchanges and queues of others were
//! like when they were last seen: transient ones vanish with the broker, and whoever comes first
//! declares them again. If that is us, they must be as they were, for their owners would be
//! refused otherwise. When a queue was first seen, and what the broker would not declare. Kept by
//! the driver, asked by `topology.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::deployment::{Lifetime, Seen};
use super::retry_queue::Holding;
use super::side_queue::SideQueue;
use crate::drivers::rabbit::connection::refusal::{Fault, is_about_a_feature_flag};
use crate::drivers::rabbit::connection::version::Version;

/// How long after its declaration a queue survives a crash of the broker. RabbitMQ writes that a
/// queue exists later than what is in it: one that is not written yet is gone, or comes back empty,
/// whatever was confirmed. Seen of quorum queues whenever the broker is killed within half a
/// second, and now and then of classic ones.
const SETTLING: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Known {
    seen: Mutex<LastSeen>,
    /// Quorum queues are switched off, by a feature flag that an upgrade left out.
    without_quorum: AtomicBool,
    /// As `without_quorum`, of streams.
    without_streams: AtomicBool,
    /// It was said that transient queues lose messages.
    warned: AtomicBool,
}

#[derive(Debug, Default)]
struct LastSeen {
    exchanges: HashMap<String, Lifetime>,
    queues: HashMap<String, Seen>,
    /// The last queue that other programs declare, too.
    shared: Option<Seen>,
    /// When each queue was seen for the first time since the last connection to send was lost.
    first: HashMap<String, Instant>,
    /// When this process declared a queue.
    declared: HashMap<String, Instant>,
    /// Side queues that held a message.
    settled: HashSet<String>,
    /// Queues of subscriptions whose permissions were looked at.
    asked_rights: HashSet<String>,
    /// Queues of which a consumer was refused, the latest first.
    failed: Vec<Arc<str>>,
    /// Those that a consumer of this process declares and binds.
    consumed: HashSet<String>,
}

impl Known {
    fn seen(&self) -> MutexGuard<'_, LastSeen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long an exchange stays, or did when it was seen last.
    pub(crate) fn exchange(&self, name: &str) -> Option<Lifetime> {
        self.seen().exchanges.get(name).copied()
    }

    pub(crate) fn see_exchange(&self, name: &str, lifetime: Lifetime) {
        self.seen().exchanges.insert(name.to_owned(), lifetime);
    }

    /// What a queue is like, or was when it was seen last.
    pub(crate) fn queue(&self, name: &str) -> Option<Seen> {
        self.seen().queues.get(name).copied()
    }

    /// Whether it may be a quorum queue.
    pub(crate) fn may_be_quorum(&self, name: &str) -> bool {
        self.queue(name).and_then(|seen| seen.quorum) != Some(false)
    }

    pub(crate) fn see_queue(&self, name: &str, queue: Seen) {
        let mut seen = self.seen();
        seen.queues.insert(name.to_owned(), queue);
        seen.first.entry(name.to_owned()).or_insert_with(Instant::now);
    }

    /// What the queues are like that other programs declare, too, as far as one was seen.
    pub(crate) fn shared(&self) -> Option<Seen> {
        self.seen().shared
    }

    pub(crate) fn see_shared(&self, queue: Seen) {
        self.seen().shared = Some(queue);
    }

    /// Takes note of a queue that was declared just now.
    pub(crate) fn declared(&self, name: &str) {
        let mut seen = self.seen();
        seen.settled.remove(name);
        seen.first.insert(name.to_owned(), Instant::now());
        seen.declared.insert(name.to_owned(), Instant::now());
    }

    /// Takes note of a message in a queue that only listeners put something into: it had settled
    /// for whoever did.
    pub(crate) fn holds_a_message(&self, name: &str) {
        self.seen().settled.insert(name.to_owned());
    }

    /// Takes note that a queue is not there: whoever declares it next, it is a new one.
    pub(crate) fn is_gone(&self, name: &str) {
        let mut seen = self.seen();
        seen.settled.remove(name);
        seen.first.remove(name);
    }

    /// Takes note of a new connection to send: any queue may have gone with the last one, and have been
    /// declared anew by another process.
    pub(crate) fn connected_again(&self) {
        let mut seen = self.seen();
        seen.settled.clear();
        seen.first.clear();
    }

    /// Takes note of queues that a consumer declares and binds.
    pub(crate) fn consumes<'q>(&self, queues: impl IntoIterator<Item = &'q String>) {
        self.seen().consumed.extend(queues.into_iter().cloned());
    }

    /// Whether a consumer declares and binds a queue if it is missing.
    pub(crate) fn is_consumed(&self, name: &str) -> bool {
        self.seen().consumed.contains(name)
    }

    /// How long a queue must not be relied on yet: as long as it may be new, also for another
    /// process.
    pub(crate) fn settling(&self, name: &str) -> Duration {
        let now = Instant::now();
        let mut seen = self.seen();
        if seen.settled.contains(name) {
            return Duration::ZERO;
        }
        let first = *seen.first.entry(name.to_owned()).or_insert(now);
        SETTLING.saturating_sub(now - first)
    }

    /// As `settling`, for a queue that other programs declare, too, and do not wait for: only what
    /// this process declared may be new.
    pub(crate) fn settling_own(&self, name: &str) -> Duration {
        let declared = self.seen().declared.get(name).copied();
        declared.map_or(Duration::ZERO, |declared| SETTLING.saturating_sub(declared.elapsed()))
    }

    /// Takes note of a queue that could not be consumed.
    pub(crate) fn failed_to_consume(&self, queue: &Arc<str>) {
        let mut seen = self.seen();
        seen.failed.retain(|other| other != queue);
        seen.failed.insert(0, Arc::clone(queue));
    }

    /// The order in which to consume these queues, as positions: those that could not be consumed
    /// before come first. Nothing is forgotten, so queues that fail by turns come to stand first.
    pub(crate) fn failed_first(&self, queues: &[Arc<str>]) -> Vec<usize> {
        let seen = self.seen();
        let rank = |at: &usize| seen.failed.iter().position(|queue| *queue == queues[*at]);
        let mut order: Vec<usize> = (0..queues.len()).collect();
        order.sort_by_key(|at| rank(at).unwrap_or(usize::MAX));
        order
    }

    /// Whether it is the first time that this is asked of a subscription with this queue: an attempt
    /// to attach may fail afterwards.
    pub(crate) fn is_first_look_at_rights(&self, queue: &str) -> bool {
        self.seen().asked_rights.insert(queue.to_owned())
    }

    /// Whether it is the first time that this is asked.
    pub(crate) fn is_first_warning(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// The types of queue that can hold messages back, the best first.
    pub(crate) fn holdings(&self, version: Option<Version>) -> Vec<Holding> {
        let without_quorum = self.without_quorum.load(Ordering::Relaxed);
        let mut choices = Holding::choices(version).to_vec();
        choices.retain(|holding| !without_quorum || *holding != Holding::Quorum);
        choices
    }

    /// Takes note of a refusal. One for a missing feature ends the connection, so there is no
    /// second try in the same session.
    pub(crate) fn refuse(&self, holding: Holding, fault: &Fault) {
        if holding == Holding::Quorum {
            self.refuse_side(SideQueue::Quorum, fault);
        }
    }

    /// As `refuse`, of a side queue. Whether another type may be taken instead.
    pub(crate) fn refuse_side(&self, side: SideQueue, fault: &Fault) -> bool {
        let is_off = matches!(fault, Fault::Broker { text, .. } if is_about_a_feature_flag(text));
        match side {
            SideQueue::Quorum if is_off => self.without_quorum.store(true, Ordering::Relaxed),
            SideQueue::Stream if is_off => self.without_streams.store(true, Ordering::Relaxed),
            SideQueue::Quorum | SideQueue::Stream | SideQueue::Classic => return false,
        }
        true
    }

    /// Whether a type of queue is not known to be switched off.
    pub(crate) fn has(&self, side: SideQueue) -> bool {
        match side {
            SideQueue::Quorum => !self.without_quorum.load(Ordering::Relaxed),
            SideQueue::Stream => !self.without_streams.load(Ordering::Relaxed),
            SideQueue::Classic => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_queue_that_is_switched_off_is_not_asked_for_again() {
        let known = Known::default();
        let version = Some(Version::new(3, 10));
        let refuse = |code, text: &str| {
            known.refuse(Holding::Quorum, &Fault::Broker { code, text: text.to_owned() });
            known.holdings(version)
        };
        let timed_out = refuse(541, "INTERNAL_ERROR - timed out");
        assert_eq!(timed_out, [Holding::Quorum, Holding::Classic]);
        let disabled = "INTERNAL_ERROR - the corresponding feature flag is disabled";
        assert_eq!(refuse(541, disabled), [Holding::Classic]);
        let fault = Fault::Broker { code: 541, text: disabled.to_owned() };
        let has = |known: &Known| {
            [SideQueue::Quorum, SideQueue::Stream, SideQueue::Classic].map(|side| known.has(side))
        };
        assert_eq!(has(&known), [false, true, true]);
        assert!(known.refuse_side(SideQueue::Stream, &fault));
        assert!(!known.refuse_side(SideQueue::Classic, &fault));
        assert_eq!(has(&known), [false, false, true]);
        let timed_out = Fault::Broker { code: 541, text: "INTERNAL_ERROR - timed out".to_owned() };
        assert!(!Known::default().refuse_side(SideQueue::Stream, &timed_out));
    }

    #[test]
    fn queues_that_could_not_be_consumed_come_first() {
        let known = Known::default();
        let queues = ["a", "b", "c"].map(Arc::<str>::from);
        assert_eq!(known.failed_first(&queues), [0, 1, 2]);
        known.failed_to_consume(&queues[1]);
        known.failed_to_consume(&queues[2]);
        assert_eq!(known.failed_first(&queues), [2, 1, 0]);
        known.failed_to_consume(&queues[1]);
        assert_eq!(known.failed_first(&queues), [1, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_settles_once_from_when_it_was_first_seen() {
        let known = Known::default();
        let second = Duration::from_secs(1);
        assert_eq!(known.settling("q"), 2 * second);
        tokio::time::advance(second).await;
        assert_eq!(known.settling("q"), second);
        tokio::time::advance(second).await;
        assert_eq!(known.settling("q"), Duration::ZERO);
        // Deleted in between, and declared again.
        known.declared("q");
        assert_eq!(known.settling("q"), 2 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_queue_that_held_a_message_has_settled_unless_it_is_declared_again() {
        let known = Known::default();
        known.holds_a_message("q.dead");
        assert_eq!(known.settling("q.dead"), Duration::ZERO);
        known.declared("q.dead");
        assert_eq!(known.settling("q.dead"), SETTLING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_may_have_been_declared_anew_settles_again() {
        let known = Known::default();
        let forget: [fn(&Known); 2] = [|known| known.is_gone("q.dead"), Known::connected_again];
        for forget in forget {
            assert_eq!(known.settling("q.dead"), SETTLING);
            tokio::time::advance(SETTLING).await;
            known.holds_a_message("q.dead");
            assert_eq!(known.settling("q.dead"), Duration::ZERO);
            forget(&known);
        }
        assert_eq!(known.settling("q.dead"), SETTLING);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_queue_of_others_only_what_this_process_declared_settles() {
        let known = Known::default();
        known.see_queue("q", Seen::default());
        assert_eq!(known.settling_own("q"), Duration::ZERO);
        known.declared("q");
        assert_eq!(known.settling_own("q"), SETTLING);
        tokio::time::advance(SETTLING).await;
        assert_eq!(known.settling_own("q"), Duration::ZERO);
    }
}
