//! What becomes of a delivery: from the outcomes of its methods to one verdict. Pure; who
//! carries the verdict out is `settle.rs`.

use std::error::Error;
use std::fmt::Write as _;

use crate::dispatch::{Failed, Walk};
use crate::outcome::Chain;

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everybody who wanted it has handled it, or nobody wanted it.
    Ack,
    /// A method gave it back.
    Requeue,
    /// The listener stopped before it was done.
    GiveBack,
    /// It is given up.
    DeadLetter(GivenUp),
}

/// Why a delivery is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// One word: `undecodable`, `error`, `argument`, `version`, `panic`, `given-up`, `retries`,
    /// `requeue-not-allowed`.
    pub(super) reason: &'static str,
    /// What went wrong, in full.
    pub(super) error: String,
    /// The methods that still owe it, as the table names them.
    pub(super) owed: Vec<String>,
}

/// The verdict on a walk.
pub(super) fn verdict(walk: Walk) -> Verdict {
    if walk.interrupted {
        return Verdict::GiveBack;
    }
    if walk.requeued {
        return Verdict::Requeue;
    }
    let Some((_, first)) = walk.failed.first() else {
        return Verdict::Ack;
    };
    let reason = first.reason();
    let mut error = String::new();
    for (method, failed) in &walk.failed {
        let divider = if error.is_empty() { "" } else { "; " };
        // Writing to a String cannot fail.
        let _ = write!(error, "{divider}{method}: {}", failed.text());
    }
    let owed = walk.failed.into_iter().map(|(method, _)| method).collect();
    Verdict::DeadLetter(GivenUp { reason, error, owed })
}

/// The verdict on a delivery whose way through the stages panicked: a serializer, or an error
/// that cannot be printed.
pub(super) fn panicked(message: &str) -> Verdict {
    Verdict::DeadLetter(GivenUp {
        reason: "panic",
        error: format!("panicked: {message}"),
        owed: Vec::new(),
    })
}

/// The verdict on a body that cannot be read.
pub(super) fn undecodable(error: &(dyn Error + 'static)) -> Verdict {
    Verdict::DeadLetter(GivenUp {
        reason: "undecodable",
        error: Chain(error).to_string(),
        owed: Vec::new(),
    })
}

impl Failed {
    fn reason(&self) -> &'static str {
        match self {
            Self::Failure(failure) => failure.reason(),
            Self::GivenUp(_) => "given-up",
            Self::Retries(_) | Self::TooLong(_) => "retries",
            Self::RequeueNotAllowed => "requeue-not-allowed",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Failure(failure) => failure.to_string(),
            Self::GivenUp(reason) => reason.clone(),
            Self::Retries(attempts) => format!("asked to retry after {attempts} calls"),
            Self::TooLong(hold) => {
                format!("asked for a pause that would hold the delivery for more than {hold:?}")
            }
            Self::RequeueNotAllowed => "asked to requeue; set `allow_requeue(true)` on the listener, or return `Outcome::Retry`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Failure;

    fn failed(method: &str, reason: &str) -> (String, Failed) {
        (method.to_owned(), Failed::GivenUp(reason.to_owned()))
    }

    #[test]
    fn what_nobody_failed_is_acknowledged() {
        assert_eq!(verdict(Walk { handled: 2, ..Walk::default() }), Verdict::Ack);
        assert_eq!(verdict(Walk::default()), Verdict::Ack);
    }

    #[test]
    fn one_failure_is_enough_and_only_the_failed_are_owed() {
        let walk = Walk {
            handled: 1,
            failed: vec![
                ("a::A::info".to_owned(), Failed::Failure(Failure::Panic("no".to_owned()))),
                failed("b::B::info", "late"),
            ],
            ..Walk::default()
        };
        assert_eq!(
            verdict(walk),
            Verdict::DeadLetter(GivenUp {
                reason: "panic",
                error: "a::A::info: panicked: no; b::B::info: late".to_owned(),
                owed: vec!["a::A::info".to_owned(), "b::B::info".to_owned()],
            })
        );
    }

    #[test]
    fn a_requeue_wins_over_a_failure() {
        let walk = Walk { failed: vec![failed("a", "b")], requeued: true, ..Walk::default() };
        assert_eq!(verdict(walk), Verdict::Requeue);
    }

    #[test]
    fn an_interrupted_walk_is_given_back_whatever_came_before() {
        let walk = Walk { interrupted: true, failed: vec![failed("a", "b")], ..Walk::default() };
        assert_eq!(verdict(walk), Verdict::GiveBack);
    }
}
