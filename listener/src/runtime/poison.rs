//! What becomes of a delivery that was given out before and never settled: it may be what ended
//! the process that worked on it. Pure; asked by `worker.rs` before anything is called.

use crate::runtime::options::PoisonOptions;

/// How often a delivery was given out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// What the broker counts, less the times when this process itself lost its session.
    pub(super) counted: Option<u64>,
    /// What our own header says, from an earlier copy.
    pub(super) noted: u64,
    /// Whether the broker says that it was given out before, and not to this process.
    pub(super) redelivered: bool,
    /// Whether it came from a queue of deliveries that are worked on alone.
    pub(super) alone: bool,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Work on it.
    None,
    /// The broker does not count: put a copy that does in its place, with this count.
    Note(u64),
    /// Set it aside, to be worked on alone.
    SetAside(u64),
    /// Give it up.
    Poison(u64),
}

impl Given {
    pub(super) fn suspicion(self, options: &PoisonOptions) -> Suspicion {
        let count = self.counted.unwrap_or(self.noted + u64::from(self.redelivered));
        let limit = if self.alone { options.give_up_after } else { options.suspect_after };
        if count >= limit {
            return if self.alone { Suspicion::Poison(count) } else { Suspicion::SetAside(count) };
        }
        if self.counted.is_none() && self.redelivered {
            return Suspicion::Note(count);
        }
        Suspicion::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PoisonOptions = PoisonOptions { suspect_after: 2, give_up_after: 3 };

    fn quorum(count: u64, alone: bool) -> Suspicion {
        Given { counted: Some(count), noted: 0, redelivered: count > 0, alone }.suspicion(&OPTIONS)
    }

    fn classic(noted: u64, redelivered: bool, alone: bool) -> Suspicion {
        Given { counted: None, noted, redelivered, alone }.suspicion(&OPTIONS)
    }

    #[test]
    fn where_the_broker_counts_its_count_decides() {
        assert_eq!([0, 1].map(|count| quorum(count, false)), [Suspicion::None; 2]);
        assert_eq!(quorum(2, false), Suspicion::SetAside(2));
        assert_eq!([0, 1, 2].map(|count| quorum(count, true)), [Suspicion::None; 3]);
        assert_eq!(quorum(3, true), Suspicion::Poison(3));
    }

    #[test]
    fn where_it_does_not_each_time_is_noted_on_a_copy() {
        assert_eq!(classic(0, false, false), Suspicion::None);
        assert_eq!(classic(0, true, false), Suspicion::Note(1));
        assert_eq!(classic(1, false, false), Suspicion::None);
        assert_eq!(classic(1, true, false), Suspicion::SetAside(2));
        assert_eq!(classic(0, true, true), Suspicion::Note(1));
        assert_eq!(classic(1, true, true), Suspicion::Note(2));
        assert_eq!(classic(2, false, true), Suspicion::None);
        assert_eq!(classic(2, true, true), Suspicion::Poison(3));
    }
}
