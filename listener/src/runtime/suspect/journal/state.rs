//! What the entries of the journal say, and why the journal cannot be used at present. Read and set in
//! `mod.rs`, by the caller that appends.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::suspect::journal::entry::{JournalEntry, Key};
use crate::transport::driver::JournalRead;
use crate::transport::error::JournalError;

/// A journal counts as lost once the broker has reported it as lost for this long: one that another process is
/// declaring looks the same for a moment.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(30);

/// The most suspects that are remembered; when there are this many, all are forgotten.
const REMEMBERED: usize = 100_000;

/// There is no evidence, and nothing is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// There is no journal.
    Refused,
    /// The broker cannot be reached, or accepts nothing.
    Unreachable,
}

/// Why the journal is not used for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// There is no journal.
    Refused,
    /// The broker has lost it.
    Lost,
    Unreachable,
}

/// What the entries say that were read.
#[derive(Debug, Default)]
pub(super) struct JournalState {
    /// The number of the next attempt to append.
    pub(super) next_number: u64,
    /// Where the next reading begins.
    pub(super) next: u64,
    /// The processes that have begun a suspect and neither settled nor released it.
    pub(super) begun: HashMap<Key, BTreeSet<String>>,
    /// The present outage, and when the journal is tried again.
    outage: Option<(Outage, Instant)>,
    /// Since when the broker reports the journal as lost.
    lost_since: Option<Instant>,
}

impl Outage {
    /// After which time the journal is tried again.
    pub(super) const fn retry_after(self) -> Duration {
        Duration::from_secs(match self {
            Self::Refused => 5 * 60,
            // Each attempt costs a connection.
            Self::Lost => 60,
            Self::Unreachable => 5,
        })
    }

    pub(super) const fn unavailable(self) -> Unavailable {
        match self {
            Self::Refused => Unavailable::Refused,
            // A lost journal is declared again once an operator has deleted its queue.
            Self::Lost | Self::Unreachable => Unavailable::Unreachable,
        }
    }
}

impl JournalState {
    /// Whether the journal is not to be used at present.
    pub(super) fn unavailable(&self) -> Option<Unavailable> {
        let (outage, until) = self.outage?;
        (Instant::now() < until).then(|| outage.unavailable())
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.outage, Some((Outage::Lost, _)))
    }

    /// Ends the wait after these outages: the journal is tried again now.
    pub(super) fn retry_now(&mut self, outages: &[Outage]) {
        if let Some((outage, until)) = &mut self.outage
            && outages.contains(outage)
        {
            *until = Instant::now();
        }
    }

    /// How many other processes have begun this suspect, and neither settled nor released it. `None` if the
    /// entries have to be read again.
    pub(super) fn crashes(&self, key: Key, process: &str) -> Option<usize> {
        if self.next == 0 {
            return None;
        }
        let processes = self.begun.get(&key);
        Some(processes.map_or(0, |all| all.iter().filter(|one| *one != process).count()))
    }

    /// An entry was appended.
    pub(super) fn reached(&mut self) {
        (self.outage, self.lost_since) = (None, None);
    }

    pub(super) fn read(&mut self, read: &JournalRead) {
        read.entries.iter().for_each(|entry| self.apply(entry));
        self.next = read.next;
    }

    /// An entry could not be appended. Returns the outage, and whether it is to be logged: each one is
    /// logged once.
    pub(super) fn failed(&mut self, error: &JournalError) -> (Outage, bool) {
        let (outage, may_log) = match error {
            JournalError::Unsupported(_) => (Outage::Refused, true),
            JournalError::Unreachable(_) => (Outage::Unreachable, true),
            JournalError::Lost(_) => {
                let since = *self.lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() < LOST_AFTER {
                    (Outage::Unreachable, false)
                } else {
                    (Outage::Lost, true)
                }
            }
        };
        if outage != Outage::Refused {
            // When it is reached again it may be another journal, which is read from its beginning.
            (self.next, self.begun) = (0, HashMap::new());
        }
        let before = self.outage.replace((outage, Instant::now() + outage.retry_after()));
        (outage, may_log && before.is_none_or(|(before, _)| before != outage))
    }

    /// Applies an entry. Anything that is not an entry is ignored.
    fn apply(&mut self, entry: &[u8]) {
        let Ok(entry) = serde_json::from_slice::<JournalEntry>(entry) else { return };
        for key in &entry.settled {
            self.begun.remove(key);
        }
        for key in &entry.released {
            self.forget(*key, &entry.process);
        }
        if entry.stopped {
            self.begun.retain(|_, processes| {
                processes.remove(&entry.process);
                !processes.is_empty()
            });
        }
        for key in entry.begin {
            if self.begun.len() >= REMEMBERED {
                self.begun.clear();
            }
            self.begun.entry(key).or_default().insert(entry.process.clone());
        }
    }

    fn forget(&mut self, key: Key, process: &str) {
        if let Some(processes) = self.begun.get_mut(&key) {
            processes.remove(process);
            if processes.is_empty() {
                self.begun.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_that_is_not_an_entry_is_ignored() {
        let mut state = JournalState::default();
        for text in ["", "{", "[]", "{\"begin\": [\"x\"]}", "{\"begin\": 7}"] {
            state.apply(text.as_bytes());
        }
        assert!(state.begun.is_empty());
    }

    #[test]
    fn the_number_of_remembered_suspects_is_bounded() {
        let mut state = JournalState::default();
        let begin = |keys: std::ops::Range<u64>| {
            let begin = keys.map(Key).collect();
            serde_json::to_vec(&JournalEntry {
                process: "p".to_owned(),
                begin,
                ..JournalEntry::default()
            })
        };
        for part in 0..30 {
            let keys = part * 10_000..(part + 1) * 10_000;
            state.apply(&begin(keys).expect("JSON"));
            assert!(state.begun.len() <= REMEMBERED);
        }
    }
}
