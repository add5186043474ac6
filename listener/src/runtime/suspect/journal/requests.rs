//! What this process has begun, and what its next entry records. Entries are appended in `mod.rs`; what
//! other processes have recorded is in `state.rs`.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use crate::runtime::suspect::journal::entry::{JournalEntry, Key};
use crate::runtime::suspect::journal::state::Unavailable;

/// The most keys of one kind in an entry; the others go into the next one.
const KEYS_PER_ENTRY: usize = 10_000;

/// The record that a suspect is begun, held by one delivery of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(super) key: Key,
    /// The session in which it was begun; `None` once the record is withdrawn.
    session: Option<u64>,
}

/// A caller that waits until an entry is appended.
#[derive(Debug)]
pub(super) struct Request {
    /// The suspect that it begins. `None`: it reads what other processes have begun.
    pub(super) begin: Option<Key>,
    pub(super) done: oneshot::Sender<Result<(), Unavailable>>,
}

/// The requests that one entry serves.
#[derive(Debug)]
pub(super) struct Batch {
    requests: Vec<Request>,
    pub(super) begin: BTreeSet<Key>,
    /// Whether some of them read.
    pub(super) reads: bool,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) waiting: Vec<Request>,
    /// How many deliveries of each suspect this process has begun in the present session, and neither
    /// settled nor released.
    begun: BTreeMap<Key, usize>,
    session: u64,
    /// To be recorded by the next entry.
    settled: BTreeSet<Key>,
    released: BTreeSet<Key>,
    /// Whether an earlier stop of this process was not recorded: the next entry records it.
    has_unrecorded_stop: bool,
    /// Whether this process stops: what it begins from then on is not recorded.
    is_stopping: bool,
}

impl Record {
    /// The record, after it was released: it no longer counts.
    pub(super) fn withdrawn(self) -> Self {
        Self { session: None, ..self }
    }
}

impl Requests {
    /// Begins a run: what is begun is recorded, also after a stop.
    pub(super) fn start(&mut self) {
        self.is_stopping = false;
        // Records of the previous run must not end records of this one.
        self.session += 1;
    }

    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
    }

    pub(super) fn begin(&mut self, key: Key) -> Record {
        // The end of an earlier delivery of it need not be recorded any more.
        self.settled.remove(&key);
        self.released.remove(&key);
        if !self.is_stopping {
            *self.begun.entry(key).or_default() += 1;
        }
        Record { key, session: Some(self.session) }
    }

    /// Ends a record. Returns whether it was the last one of its key.
    pub(super) fn end(&mut self, Record { key, session }: Record) -> bool {
        let Some(count) = self.begun.get_mut(&key) else { return true };
        // Withdrawn records, and those of lost sessions, are not in the count.
        if session == Some(self.session) {
            *count -= 1;
        }
        if *count > 0 {
            return false;
        }
        self.begun.remove(&key);
        true
    }

    /// The delivery was settled.
    pub(super) fn record_settled(&mut self, record: Record) {
        self.end(record);
        self.settled.insert(record.key);
    }

    /// The delivery was released. Returns whether anything is to be recorded: another delivery of the suspect
    /// may still be started.
    pub(super) fn record_released(&mut self, record: Record) -> bool {
        let is_last = self.end(record);
        if is_last {
            // Recorded again if it was released before: a record may have come after that.
            self.released.insert(record.key);
        }
        is_last
    }

    /// The session is lost. Returns whether anything is to be recorded.
    pub(super) fn release_all(&mut self) -> bool {
        self.session += 1;
        self.released.extend(std::mem::take(&mut self.begun).into_keys());
        !self.has_nothing_to_record()
    }

    pub(super) fn has_nothing_to_record(&self) -> bool {
        self.settled.is_empty() && self.released.is_empty()
    }

    /// Whether a stop has nothing to withdraw from the journal.
    pub(super) fn has_nothing_to_withdraw(&self) -> bool {
        self.begun.is_empty() && !self.has_unrecorded_stop && self.has_nothing_to_record()
    }

    /// Takes the requests that wait, for one entry.
    pub(super) fn take_batch(&mut self) -> Batch {
        let mut requests = std::mem::take(&mut self.waiting);
        // Requests whose caller was dropped begin nothing.
        requests.retain(|request| !request.done.is_closed());
        // An entry after that of the stop would be evidence.
        let begin = requests.iter().filter_map(|request| request.begin);
        let begin = begin.filter(|_| !self.is_stopping).collect();
        let reads = requests.iter().any(|request| request.begin.is_none());
        Batch { requests, begin, reads }
    }

    /// Adds to an entry everything else that is due.
    pub(super) fn complete(&self, mut entry: JournalEntry) -> JournalEntry {
        let some = |keys: &BTreeSet<Key>| keys.iter().take(KEYS_PER_ENTRY).copied().collect();
        entry.settled = some(&self.settled);
        entry.released = some(&self.released);
        if !entry.stopped {
            // Of several equal deliveries one is settled, and others are still begun.
            let still_begun = entry.settled.iter().filter(|key| self.begun.contains_key(key));
            entry.begin.extend(still_begun);
        }
        entry.stopped |= self.has_unrecorded_stop;
        entry
    }

    /// An entry was appended.
    pub(super) fn recorded(&mut self, entry: &JournalEntry) {
        self.settled.retain(|key| !entry.settled.contains(key));
        self.released.retain(|key| !entry.released.contains(key));
        self.has_unrecorded_stop &= !entry.stopped;
    }

    /// The stop was recorded.
    pub(super) fn stopped(&mut self) {
        self.begun.clear();
        self.released.clear();
    }

    /// The stop was not recorded: the first entry of the next run withdraws everything, if there is one.
    pub(super) fn postpone_stop(&mut self) {
        self.begun.clear();
        self.forget_recorded();
        self.has_unrecorded_stop = true;
    }

    /// The journal is lost with all records: the end of none is to be recorded.
    pub(super) fn forget_recorded(&mut self) {
        self.settled.clear();
        self.released.clear();
    }
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.begin.is_empty() && !self.reads
    }

    /// Answers the requests once the entry is appended, or cannot be.
    pub(super) fn answer(self, result: Result<(), Unavailable>) {
        for request in self.requests {
            let _ = request.done.send(result);
        }
    }
}
