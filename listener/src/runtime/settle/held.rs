//! The calls that a delivery still owes and that wait in the process: for the end of a pause, or
//! until copies can be made again for a paused method. Each waits for itself; who calls and who
//! settles is `worker.rs`.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use tokio::time::Instant;

use crate::runtime::settle::copier::Copier;
use crate::transport::driver::LONGEST_WAIT;

/// Methods that are to be called together.
#[derive(Debug)]
pub(crate) struct Round {
    /// The methods; `None`: everybody who wants it.
    pub(crate) owed: Option<Vec<String>>,
    /// How often they have been called.
    pub(crate) attempts: u32,
    until: Until,
}

#[derive(Debug)]
enum Until {
    Over(Instant),
    /// The method's copies can be made again.
    Resumed(String),
}

/// A round that can begin, of those that are held now.
#[derive(Debug)]
pub(crate) struct Ready(usize);

/// The rounds that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<Round>);

impl Held {
    /// Holds methods for a pause.
    pub(crate) fn pause(&mut self, owed: Option<Vec<String>>, attempts: u32, pause: Duration) {
        let until = Until::Over(Instant::now() + pause.min(LONGEST_WAIT));
        self.0.push(Round { owed, attempts, until });
    }

    /// Holds a method for as long as it is paused.
    pub(crate) fn until_resumed(&mut self, method: String, attempts: u32) {
        let owed = Some(vec![method.clone()]);
        self.0.push(Round { owed, attempts, until: Until::Resumed(method) });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some wait for the end of a pause.
    pub(crate) fn has_pauses(&self) -> bool {
        self.0.iter().any(|round| matches!(round.until, Until::Over(_)))
    }

    /// The methods of all rounds; `None` where one is for everybody who wants it.
    pub(crate) fn owed(&self) -> Option<Vec<String>> {
        let owed: Option<Vec<_>> = self.0.iter().map(|round| round.owed.clone()).collect();
        owed.map(|owed| owed.concat())
    }

    /// How often the methods of each round have been called.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|round| round.attempts)
    }

    /// Waits for the first round that can begin. `None` when there is none. It stays held until it
    /// is taken: whoever stops before that still owes it.
    pub(crate) async fn ready(&self, copier: &Copier) -> Option<Ready> {
        if self.0.is_empty() {
            return None;
        }
        let waits = self.0.iter().map(|round| round.until.passed(copier));
        let ((), index, _) = select_all(waits).await;
        Some(Ready(index))
    }

    /// Takes a round that is ready.
    pub(crate) fn take(&mut self, Ready(index): Ready) -> Round {
        self.0.remove(index)
    }
}

impl Until {
    fn passed<'u>(&'u self, copier: &'u Copier) -> BoxFuture<'u, ()> {
        match self {
            Self::Over(end) => tokio::time::sleep_until(*end).boxed(),
            Self::Resumed(method) => copier.wait_for(method).boxed(),
        }
    }
}
