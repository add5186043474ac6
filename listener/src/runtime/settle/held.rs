//! The calls of a delivery that wait in the process: for the end of a delay, or until copies can be made
//! again for a paused method. `copies.rs` waits for the next one.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use tokio::time::Instant;

use crate::runtime::settle::copier::Copier;
use crate::runtime::settle::pending::Pending;
use crate::transport::driver::MAX_TIMEOUT;

/// Methods that are called together.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) pending: Pending,
    /// How often they have been called.
    pub(crate) attempts: u32,
    until: Until,
}

#[derive(Debug)]
enum Until {
    Elapsed(Instant),
    /// Copies can be made for this method again.
    Resumed(String),
}

/// The index of a round that can begin. Valid until a round is taken.
#[derive(Debug)]
pub(crate) struct ReadyRound(usize);

/// The rounds of calls that are still to come.
#[derive(Debug, Default)]
pub(crate) struct HeldRounds(Vec<Round>);

impl HeldRounds {
    /// Holds methods for a delay.
    pub(crate) fn hold_for(&mut self, pending: Pending, attempts: u32, delay: Duration) {
        let until = Until::Elapsed(Instant::now() + delay.min(MAX_TIMEOUT));
        self.0.push(Round { pending, attempts, until });
    }

    /// Holds a method until it is not paused: only for a moment if it was skipped at a stop.
    pub(crate) fn hold_until_resumed(&mut self, method: String, attempts: u32) {
        let pending = Pending::of(vec![method.clone()]);
        self.0.push(Round { pending, attempts, until: Until::Resumed(method) });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some wait for the end of a delay.
    pub(crate) fn has_delays(&self) -> bool {
        self.0.iter().any(|round| matches!(round.until, Until::Elapsed(_)))
    }

    pub(crate) fn rounds(&self) -> impl Iterator<Item = &Round> + Clone {
        self.0.iter()
    }

    /// Waits for the first round that can begin; `None` if there is no round. It stays held until it is
    /// taken: a stop before that leaves its methods pending.
    pub(crate) async fn next_ready(&self, copier: &Copier) -> Option<ReadyRound> {
        if self.0.is_empty() {
            return None;
        }
        let waits = self.0.iter().map(|round| round.until.passed(copier));
        let ((), index, _) = select_all(waits).await;
        Some(ReadyRound(index))
    }

    pub(crate) fn take(&mut self, ReadyRound(index): ReadyRound) -> Round {
        self.0.remove(index)
    }
}

impl Until {
    fn passed<'u>(&'u self, copier: &'u Copier) -> BoxFuture<'u, ()> {
        match self {
            Self::Elapsed(end) => tokio::time::sleep_until(*end).boxed(),
            Self::Resumed(method) => copier.wait_until_resumed(method).boxed(),
        }
    }
}
