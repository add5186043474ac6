//! What becomes of a delivery that may have ended processes: worked on where it is, moved to the
//! quarantine queue, or given up. Pure; decided from what the journal (`journal.rs`) says and
//! carried out by `worker.rs`. Also the gate that keeps methods from beginning while such a
//! delivery is on its way between queues.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::runtime::options::PoisonOptions;

/// What to do with a suspect: a delivery that the broker gave out before, or one from quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Record that it is begun, and work on it.
    Work,
    /// As `Work`, while no other method is called: one more death, and it is given up.
    Last,
    /// Move it to the quarantine queue, after so many deaths.
    Quarantine(u64),
    /// Give it up, after so many deaths.
    GiveUp(u64),
}

/// `recorded` is the number of processes that began it as a suspect and died. The first process
/// began it as any other delivery, and recorded nothing.
pub(crate) fn decide(recorded: usize, is_quarantined: bool, options: &PoisonOptions) -> Decision {
    let deaths = u64::try_from(recorded).unwrap_or(u64::MAX).saturating_add(1);
    if deaths >= given_up_after(options) {
        return Decision::GiveUp(deaths);
    }
    if deaths >= options.suspect_after && !is_quarantined {
        return Decision::Quarantine(deaths);
    }
    if is_last(deaths, options) { Decision::Last } else { Decision::Work }
}

/// Whether the next death gives it up.
pub(crate) fn is_last(deaths: u64, options: &PoisonOptions) -> bool {
    deaths.saturating_add(1) >= given_up_after(options)
}

fn given_up_after(options: &PoisonOptions) -> u64 {
    options.suspect_after.saturating_add(options.give_up_after)
}

/// Keeps methods from beginning: while a copy of a suspect is confirmed and its original not yet
/// acknowledged, for a process that died in between would leave both; and while a suspect is worked
/// on for the last time, for what others do would be held against it. Those who wait for it may hold
/// their slots, so nobody waits for a slot while he keeps it closed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Passing>);

#[derive(Debug, Default)]
struct Passing {
    /// How many keep it closed.
    closed: AtomicUsize,
    /// How many methods are called at present.
    called: AtomicUsize,
    changed: Notify,
}

/// Keeps the gate closed.
#[derive(Debug)]
pub(crate) struct Closed(Gate);

/// The gate as one suspect keeps it closed for the others, for a time.
#[derive(Debug)]
pub(crate) struct Shut {
    closed: Weak<Closed>,
    /// Tells when the suspect is settled, or only waits.
    _over: DropGuard,
}

/// A method that is being called.
#[derive(Debug)]
pub(crate) struct Entered<'g>(&'g Gate);

/// Who passes the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Anybody,
    /// The one that keeps it closed.
    Closer,
}

impl Gate {
    pub(crate) fn close(&self) -> Closed {
        // In one order with `Entered`: either a method sees that it is closed, or it is seen.
        self.0.closed.fetch_add(1, Ordering::SeqCst);
        Closed(self.clone())
    }

    pub(crate) fn is_open(&self, who: Who) -> bool {
        self.0.closed.load(Ordering::SeqCst) <= usize::from(who == Who::Closer)
    }

    /// Waits until it is open.
    pub(crate) async fn open(&self, who: Who) {
        self.until(|| self.is_open(who)).await;
    }

    /// Waits until it is open, and passes.
    pub(crate) async fn enter(&self, who: Who) -> Entered<'_> {
        loop {
            self.open(who).await;
            self.0.called.fetch_add(1, Ordering::SeqCst);
            let entered = Entered(self);
            if self.is_open(who) {
                return entered;
            }
        }
    }

    /// Waits until no method is called any more.
    pub(crate) async fn left(&self) {
        self.until(|| self.0.called.load(Ordering::SeqCst) == 0).await;
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // So that a change right after the look is not missed.
            changed.as_mut().enable();
            if !is_so() {
                changed.await;
            }
        }
    }
}

impl Shut {
    pub(crate) fn new(closed: &Arc<Closed>, over: DropGuard) -> Self {
        Self { closed: Arc::downgrade(closed), _over: over }
    }

    /// As whom the methods of that suspect pass: its time may be over.
    pub(crate) fn who(&self) -> Who {
        if self.closed.strong_count() > 0 { Who::Closer } else { Who::Anybody }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let Gate(passing) = &self.0;
        passing.closed.fetch_sub(1, Ordering::SeqCst);
        passing.changed.notify_waiters();
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let Gate(passing) = self.0;
        passing.called.fetch_sub(1, Ordering::SeqCst);
        if !self.0.is_open(Who::Anybody) {
            passing.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PoisonOptions = PoisonOptions { suspect_after: 2, give_up_after: 3 };

    #[test]
    fn the_decision_for_each_number_of_recorded_deaths() {
        use Decision::{GiveUp, Last, Quarantine, Work};
        let of = |is_quarantined| [0, 1, 2, 3, 4, 9].map(|n| decide(n, is_quarantined, &OPTIONS));
        assert_eq!(
            of(false),
            [Work, Quarantine(2), Quarantine(3), Quarantine(4), GiveUp(5), GiveUp(10)]
        );
        assert_eq!(of(true), [Work, Work, Work, Last, GiveUp(5), GiveUp(10)]);
    }

    #[test]
    fn options_at_their_bounds() {
        let options = |suspect_after, give_up_after| PoisonOptions { suspect_after, give_up_after };
        assert_eq!(decide(0, false, &options(2, 1)), Decision::Work);
        assert_eq!(decide(1, false, &options(2, 1)), Decision::Quarantine(2));
        assert_eq!(decide(1, true, &options(2, 1)), Decision::Last);
        assert_eq!(decide(2, true, &options(2, 1)), Decision::GiveUp(3));
        assert_eq!(
            decide(usize::MAX - 1, false, &options(u64::MAX, 1)),
            Decision::GiveUp(u64::MAX)
        );
    }

    const SHORT: std::time::Duration = std::time::Duration::from_secs(1);

    async fn waits(future: impl Future) -> bool {
        tokio::time::timeout(SHORT, future).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_opens_when_nobody_keeps_it_closed() {
        let gate = Gate::default();
        gate.open(Who::Anybody).await;
        let (first, second) = (gate.close(), gate.close());
        assert!(waits(gate.open(Who::Anybody)).await);
        assert!(waits(gate.open(Who::Closer)).await);
        drop(first);
        assert!(waits(gate.open(Who::Anybody)).await);
        gate.open(Who::Closer).await;
        drop(second);
        gate.open(Who::Anybody).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_closes_the_gate_can_wait_for_those_who_have_passed() {
        let gate = Gate::default();
        let (first, second) = (gate.enter(Who::Anybody).await, gate.enter(Who::Anybody).await);
        let closed = gate.close();
        assert!(waits(gate.enter(Who::Anybody)).await);
        assert!(waits(gate.left()).await);
        drop(first);
        assert!(waits(gate.left()).await);
        let left = async { tokio::join!(gate.left(), async { drop(second) }) };
        assert!(!waits(left).await);
        drop(gate.enter(Who::Closer).await);
        gate.left().await;
        drop(closed);
        gate.enter(Who::Anybody).await;
    }
}
