//! What happens to a suspect: it is handled where it is, moved to its quarantine queue, or given up.
//! Pure: decided from the crashes that the journal has (`journal/`), carried out in `examine.rs`.

use crate::options::listener::PoisonOptions;

/// What to do with a suspect: a redelivered message, or one from a quarantine queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Record that it is begun, and call its methods.
    Work,
    /// As `Work`, while no other method is called: after one more crash it is given up.
    Last,
    /// Move it to the quarantine queue, after this number of crashes.
    Quarantine(u64),
    /// Give it up, after this number of crashes.
    GiveUp(u64),
}

/// `recorded` is the number of processes that recorded it as begun and crashed. The process that crashed
/// first recorded nothing: it was not a suspect yet.
pub(crate) fn decide(recorded: usize, is_quarantined: bool, options: &PoisonOptions) -> Decision {
    let crashes = u64::try_from(recorded).unwrap_or(u64::MAX).saturating_add(1);
    if crashes >= given_up_after(options) {
        return Decision::GiveUp(crashes);
    }
    if crashes >= options.quarantine_after && !is_quarantined {
        return Decision::Quarantine(crashes);
    }
    if is_last(crashes, options) { Decision::Last } else { Decision::Work }
}

/// Whether it is given up after the next crash.
pub(crate) fn is_last(crashes: u64, options: &PoisonOptions) -> bool {
    crashes.saturating_add(1) >= given_up_after(options)
}

fn given_up_after(options: &PoisonOptions) -> u64 {
    options.quarantine_after.saturating_add(options.dead_letter_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PoisonOptions = PoisonOptions { quarantine_after: 2, dead_letter_after: 3 };

    #[test]
    fn the_decision_for_each_number_of_recorded_crashes() {
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
        let options = |quarantine_after, dead_letter_after| PoisonOptions {
            quarantine_after,
            dead_letter_after,
        };
        assert_eq!(decide(0, false, &options(2, 1)), Decision::Work);
        assert_eq!(decide(1, false, &options(2, 1)), Decision::Quarantine(2));
        assert_eq!(decide(1, true, &options(2, 1)), Decision::Last);
        assert_eq!(decide(2, true, &options(2, 1)), Decision::GiveUp(3));
        assert_eq!(
            decide(usize::MAX - 1, false, &options(u64::MAX, 1)),
            Decision::GiveUp(u64::MAX)
        );
    }
}
