//! What becomes of a delivery that may have ended processes: worked on where it is, moved to the
//! quarantine queue, or given up. Pure; decided from what the journal (`journal.rs`) says and
//! carried out by `worker.rs`. Also the gate that keeps methods from beginning while such a
//! delivery is on its way between queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::runtime::options::PoisonOptions;

/// What to do with a suspect: a delivery that the broker gave out before, or one from quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Record that it is begun, and work on it.
    Work,
    /// Move it to the quarantine queue, after so many deaths.
    Quarantine(u64),
    /// Give it up, after so many deaths.
    GiveUp(u64),
}

/// `recorded` is the number of processes that began it as a suspect and died. The first process
/// began it as any other delivery, and recorded nothing.
pub(super) fn decide(recorded: usize, is_quarantined: bool, options: &PoisonOptions) -> Decision {
    let deaths = u64::try_from(recorded).unwrap_or(u64::MAX).saturating_add(1);
    if deaths >= options.suspect_after.saturating_add(options.give_up_after) {
        return Decision::GiveUp(deaths);
    }
    if deaths >= options.suspect_after && !is_quarantined {
        return Decision::Quarantine(deaths);
    }
    Decision::Work
}

/// Keeps methods from beginning while a copy of a suspect is confirmed and its original not yet
/// acknowledged: a process that died in between would leave both.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Passing>);

#[derive(Debug, Default)]
struct Passing {
    moving: AtomicUsize,
    opened: Notify,
}

/// One suspect on its way.
#[derive(Debug)]
pub(super) struct Moving<'g>(&'g Gate);

impl Gate {
    pub(super) fn close(&self) -> Moving<'_> {
        self.0.moving.fetch_add(1, Ordering::AcqRel);
        Moving(self)
    }

    /// Whether nothing is on its way.
    pub(super) fn is_open(&self) -> bool {
        self.0.moving.load(Ordering::Acquire) == 0
    }

    /// Waits until nothing is on its way.
    pub(super) async fn open(&self) {
        while !self.is_open() {
            let mut opened = std::pin::pin!(self.0.opened.notified());
            // So that one that opens right after the look is not missed.
            opened.as_mut().enable();
            if !self.is_open() {
                opened.await;
            }
        }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let Gate(passing) = self.0;
        if passing.moving.fetch_sub(1, Ordering::AcqRel) == 1 {
            passing.opened.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PoisonOptions = PoisonOptions { suspect_after: 2, give_up_after: 3 };

    #[test]
    fn the_decision_for_each_number_of_recorded_deaths() {
        use Decision::{GiveUp, Quarantine, Work};
        let of = |is_quarantined| [0, 1, 2, 3, 4, 9].map(|n| decide(n, is_quarantined, &OPTIONS));
        assert_eq!(
            of(false),
            [Work, Quarantine(2), Quarantine(3), Quarantine(4), GiveUp(5), GiveUp(10)]
        );
        assert_eq!(of(true), [Work, Work, Work, Work, GiveUp(5), GiveUp(10)]);
    }

    #[test]
    fn options_at_their_bounds() {
        let options = |suspect_after, give_up_after| PoisonOptions { suspect_after, give_up_after };
        assert_eq!(decide(0, false, &options(2, 1)), Decision::Work);
        assert_eq!(decide(1, false, &options(2, 1)), Decision::Quarantine(2));
        assert_eq!(decide(1, true, &options(2, 1)), Decision::Work);
        assert_eq!(decide(2, true, &options(2, 1)), Decision::GiveUp(3));
        assert_eq!(
            decide(usize::MAX - 1, false, &options(u64::MAX, 1)),
            Decision::GiveUp(u64::MAX)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_opens_when_the_last_one_has_passed() {
        let gate = Gate::default();
        gate.open().await;
        let (first, second) = (gate.close(), gate.close());
        let short = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(short, gate.open()).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(short, gate.open()).await.is_err());
        drop(second);
        gate.open().await;
    }
}
