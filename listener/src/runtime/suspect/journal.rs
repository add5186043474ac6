//! Which suspects the processes of a queue have begun, recorded where every process reads it: in
//! a journal of the transport. What a process has begun and never settled, though it did not
//! stop, is evidence that it died of it; an orderly stop withdraws what it had begun. What
//! follows from the evidence is `quarantine.rs`; asked and told by `worker.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::shown::error_text;
use crate::transport::Transport;
use crate::transport::driver::JournalAppend;
use crate::transport::error::JournalError;

/// How soon it is recorded that a suspect was settled or released.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// How long a journal has to be lost to be taken for lost: one that another process is declaring looks
/// the same for a moment.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// How long one entry may take at most.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that a stop waits for its record past its deadline.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest that a stop waits for its record before its deadline.
const STOP_TIMEOUT_IN_TIME: Duration = Duration::from_secs(2);

/// The most suspects of other processes that are remembered; beyond that all are forgotten.
const REMEMBERED: usize = 100_000;

/// The most keys of one kind in an entry; the rest goes into the next one.
const KEYS_OF_ENTRY: usize = 10_000;

/// What a suspect is recognised by in every process: a digest of what its copies have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn of(common: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        common.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// That a suspect is begun, as one delivery of it has it recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    key: Key,
    /// How many sessions were lost before; `None` once it is withdrawn.
    session: Option<u64>,
}

/// There is no evidence, and nothing is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// There is no journal.
    Refused,
    /// The broker is away, or takes nothing.
    Unreachable,
}

/// Why a journal is not asked for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// There is none.
    Refused,
    /// The broker has lost it.
    Lost,
    Unreachable,
}

impl Outage {
    const fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            Self::Refused => 5 * 60,
            // Each attempt costs a connection.
            Self::Lost => 60,
            Self::Unreachable => 5,
        })
    }

    const fn unavailable(self) -> Unavailable {
        match self {
            Self::Refused => Unavailable::Refused,
            // It is back once somebody has deleted its queue.
            Self::Lost | Self::Unreachable => Unavailable::Unreachable,
        }
    }
}

/// The journal of a pool or a topic, as one process uses it.
#[derive(Debug)]
pub(crate) struct Journal {
    transport: Transport,
    name: String,
    /// This process, apart from every other one and from its own earlier lives.
    process: String,
    timeout: Duration,
    requests: Mutex<Requests>,
    /// Outage by the one that appends for all that wait.
    known: tokio::sync::Mutex<Known>,
    flushes: AtomicBool,
    /// Told when what is to be recorded soon is to be recorded at once.
    hurry: Notify,
    /// Told when the process stops, which records all.
    stops: Notify,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: Vec<Request>,
    /// How many deliveries of each this process has begun and neither settled nor released, those
    /// of the present session.
    begun: BTreeMap<Key, usize>,
    session: u64,
    /// To be recorded with the next entry.
    settled: BTreeSet<Key>,
    released: BTreeSet<Key>,
    /// Whether the next entry says that this process has stopped before: its stop was not recorded.
    has_stopped: bool,
    /// Whether this process stops: what it begins from then on is not recorded.
    stops: bool,
}

impl Requests {
    /// Whether the journal holds nothing that this process would have to withdraw at its stop.
    fn has_nothing_to_withdraw(&self) -> bool {
        self.begun.is_empty() && !self.has_stopped && self.has_nothing_to_record()
    }

    /// Leaves what is to be withdrawn to the entry with which this process goes on, if it does.
    fn stop_later(&mut self) {
        self.begun.clear();
        self.settled.clear();
        self.released.clear();
        self.has_stopped = true;
    }

    fn has_nothing_to_record(&self) -> bool {
        self.settled.is_empty() && self.released.is_empty()
    }

    fn begin(&mut self, key: Key) -> Record {
        // What was recorded of an earlier delivery of it is over.
        self.settled.remove(&key);
        self.released.remove(&key);
        if !self.stops {
            *self.begun.entry(key).or_default() += 1;
        }
        Record { key, session: Some(self.session) }
    }

    /// Ends a record. Whether it was the last of its key.
    fn end(&mut self, Record { key, session }: Record) -> bool {
        let Some(count) = self.begun.get_mut(&key) else { return true };
        // What was begun before the session was lost is not counted any more, nor what is withdrawn.
        if session == Some(self.session) {
            *count -= 1;
        }
        if *count > 0 {
            return false;
        }
        self.begun.remove(&key);
        true
    }
}

/// One that waits until an entry is appended.
#[derive(Debug)]
struct Request {
    /// What it begins; `None`: it wants to know what others have.
    begin: Option<Key>,
    done: oneshot::Sender<Result<(), Unavailable>>,
}

/// What the entries that were read say.
#[derive(Debug, Default)]
struct Known {
    /// How many entries this process has appended.
    appended: u64,
    /// Where the next reading begins.
    next: u64,
    /// The processes that have begun a suspect and neither settled nor released it.
    begun: HashMap<Key, BTreeSet<String>>,
    /// Why it cannot be used, and until when that is not tried.
    outage: Option<(Outage, Instant)>,
    /// Since when the broker has said that it has lost it.
    lost_since: Option<Instant>,
}

/// What is written. A field that is missing is empty.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    process: String,
    /// Makes each entry of a process another one.
    number: u64,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    begin: BTreeSet<Key>,
    /// Released by this process: it is no evidence any more that this one began them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    released: BTreeSet<Key>,
    /// Settled for good: whoever began them did not die of it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    settled: BTreeSet<Key>,
    /// The process has stopped in order, and released all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopped: bool,
}

impl Journal {
    pub(crate) fn new(transport: Transport, name: String, timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            transport,
            name,
            process: uuid::Uuid::new_v4().simple().to_string(),
            timeout: timeout.min(TIMEOUT),
            requests: Mutex::default(),
            known: tokio::sync::Mutex::default(),
            flushes: AtomicBool::new(false),
            hurry: Notify::new(),
            stops: Notify::new(),
        })
    }

    /// How many other processes have begun this and neither settled nor released it, as of now:
    /// all that was recorded before this call is seen.
    pub(crate) async fn deaths(&self, key: Key) -> Result<usize, Unavailable> {
        self.ask(None).await?;
        let known = self.known.lock().await;
        if known.next == 0 {
            // Another request found the journal unreachable in between, and what was read is gone.
            return Err(Unavailable::Unreachable);
        }
        let processes = known.begun.get(&key);
        Ok(processes.map_or(0, |all| all.iter().filter(|one| **one != self.process).count()))
    }

    /// Records that this process begins a suspect. Once this has returned the record outlives it.
    pub(crate) async fn begin(self: &Arc<Self>, key: Key) -> Result<Record, Unavailable> {
        let record = self.requests().begin(key);
        let unavailable = match self.ask(Some(key)).await {
            Ok(()) => return Ok(record),
            Err(unavailable) => unavailable,
        };
        // The record may exist nevertheless. It may be that of another that is equal.
        match unavailable {
            Unavailable::Unreachable => self.released(record),
            Unavailable::Refused => {
                self.requests().end(record);
            }
        }
        Err(unavailable)
    }

    /// A suspect that was begun is settled for good; recorded soon. Where others with the same
    /// body are begun, that is recorded again with it.
    pub(crate) fn settled(self: &Arc<Self>, record: Record) {
        let mut requests = self.requests();
        requests.end(record);
        requests.settled.insert(record.key);
        drop(requests);
        self.flush_soon();
    }

    /// A suspect that was begun is the broker's again, and this process is alive; recorded soon,
    /// unless it has begun another delivery of it.
    pub(crate) fn released(self: &Arc<Self>, record: Record) {
        let mut requests = self.requests();
        if !requests.end(record) {
            return;
        }
        // Also what was released before: its record may have come after that.
        requests.released.insert(record.key);
        drop(requests);
        self.flush_soon();
    }

    /// A suspect that was begun only waits, and is no evidence until it is begun again. It can still
    /// be settled.
    pub(crate) fn withdrawn(self: &Arc<Self>, record: Record) -> Record {
        self.released(record);
        Record { session: None, ..record }
    }

    /// There is another session: a journal that could not be reached may be back.
    pub(crate) fn attached(self: &Arc<Self>) {
        // Whoever holds it finds out by itself.
        if let Ok(mut known) = self.known.try_lock() {
            known.may_be_back(&[Outage::Unreachable, Outage::Lost]);
        }
        self.release_all();
    }

    /// The session was lost: all that was begun is the broker's again. Recorded at once, for others
    /// decide by it soon.
    pub(crate) fn release_all(self: &Arc<Self>) {
        let mut requests = self.requests();
        requests.session += 1;
        let begun = std::mem::take(&mut requests.begun);
        requests.released.extend(begun.into_keys());
        let is_nothing = requests.has_nothing_to_record();
        drop(requests);
        if !is_nothing {
            self.flush_soon();
            self.hurry.notify_one();
        }
    }

    /// What this process begins is recorded, also after a stop.
    pub(crate) fn start(&self) {
        let mut requests = self.requests();
        requests.stops = false;
        // Records of the previous run must not end records of this one.
        requests.session += 1;
    }

    /// Records that this process stops in order: nothing that it began is evidence any more, though
    /// its methods run on, and what it begins from now on is not recorded. Does nothing where
    /// nothing is to be withdrawn. Does not wait for what is being recorded, which it records itself.
    pub(crate) async fn begin_stop(&self) -> Result<(), Unavailable> {
        self.requests().stops = true;
        self.stops.notify_waiters();
        self.append_stop().await
    }

    /// The end of a stop that has a deadline: as `begin_stop`, for what was not recorded by then. Waits
    /// for a short time at most.
    pub(crate) async fn stop(&self, deadline: Instant) {
        let now = Instant::now();
        let until = deadline.min(now + STOP_TIMEOUT_IN_TIME).max(now + STOP_TIMEOUT);
        let stopped = tokio::time::timeout_at(until, self.begin_stop()).await;
        if !matches!(stopped, Ok(Ok(()))) {
            self.requests().stop_later();
            tracing::warn!(
                journal = self.name,
                "the stop could not be recorded: what this process began may be quarantined though \
                 nothing crashed"
            );
        }
    }

    async fn append_stop(&self) -> Result<(), Unavailable> {
        let mut known = self.known.lock().await;
        if self.requests().has_nothing_to_withdraw() {
            return Ok(());
        }
        if matches!(known.outage, Some((Outage::Lost, _))) {
            // What was recorded is lost with it.
            self.requests().stop_later();
            return Ok(());
        }
        // Asked anew: it may have been away only a moment ago.
        known.may_be_back(&[Outage::Refused, Outage::Unreachable]);
        let entry = Entry { stopped: true, ..Entry::default() };
        self.append(&mut known, entry, false).await?;
        let mut requests = self.requests();
        requests.begun.clear();
        requests.released.clear();
        Ok(())
    }

    /// Waits until an entry with this is appended. One appends for all that wait meanwhile.
    async fn ask(&self, begin: Option<Key>) -> Result<(), Unavailable> {
        loop {
            let (done, mut answer) = oneshot::channel();
            self.requests().waiting.push(Request { begin, done });
            let mut known = self.known.lock().await;
            match answer.try_recv() {
                Ok(result) => return result,
                // Whoever appended for it was dropped in the middle.
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let (mut waiting, stops) = {
                let mut requests = self.requests();
                (std::mem::take(&mut requests.waiting), requests.stops)
            };
            // Requests whose caller was dropped begin nothing.
            waiting.retain(|request| !request.done.is_closed());
            let begin = waiting.iter().filter_map(|request| request.begin);
            // It would come behind the record of the stop.
            let begin: BTreeSet<Key> = begin.filter(|_| !stops).collect();
            let reads = waiting.iter().any(|request| request.begin.is_none());
            let result = if begin.is_empty() && !reads {
                Ok(())
            } else {
                let entry = Entry { begin, ..Entry::default() };
                self.append(&mut known, entry, reads).await
            };
            for request in waiting {
                let _ = request.done.send(result);
            }
            return result;
        }
    }

    /// Appends an entry, with all that is to be recorded besides.
    async fn append(
        &self,
        known: &mut Known,
        entry: Entry,
        reads: bool,
    ) -> Result<(), Unavailable> {
        if let Some((outage, until)) = known.outage
            && Instant::now() < until
        {
            return Err(outage.unavailable());
        }
        known.appended += 1;
        let (settled, released) = {
            let requests = self.requests();
            let some = |keys: &BTreeSet<Key>| -> BTreeSet<Key> {
                keys.iter().take(KEYS_OF_ENTRY).copied().collect()
            };
            (some(&requests.settled), some(&requests.released))
        };
        let mut begin = entry.begin;
        if !entry.stopped {
            // One of several that are equal: the others are begun still.
            let requests = self.requests();
            begin.extend(settled.iter().filter(|key| requests.begun.contains_key(key)));
        }
        let entry = Entry {
            process: self.process.clone(),
            number: known.appended,
            begin,
            settled,
            released,
            stopped: entry.stopped || self.requests().has_stopped,
        };
        let Ok(text) = serde_json::to_vec(&entry) else { return Err(Unavailable::Refused) };
        let append = JournalAppend {
            journal: self.name.clone(),
            entry: Bytes::from(text),
            read_from: reads.then_some(known.next),
            timeout: self.timeout,
        };
        match self.transport.journal(append).await {
            Ok(read) => {
                (known.outage, known.lost_since) = (None, None);
                if reads {
                    read.entries.iter().for_each(|entry| known.apply(entry));
                    known.next = read.next;
                }
                let mut requests = self.requests();
                requests.settled.retain(|key| !entry.settled.contains(key));
                requests.released.retain(|key| !entry.released.contains(key));
                requests.has_stopped &= !entry.stopped;
                Ok(())
            }
            Err(JournalError::Unsupported(reason)) => {
                if known.set_unavailable(Outage::Refused) {
                    tracing::warn!(
                        journal = self.name,
                        reason = error_text(&reason),
                        "what ends the process cannot be recognised: grant the user the \
                         permission to configure and read this journal, and to write to \
                         \"amq.default\""
                    );
                }
                Err(Unavailable::Refused)
            }
            Err(JournalError::Lost(reason)) => {
                let since = *known.lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() < LOST_AFTER {
                    known.set_unavailable(Outage::Unreachable);
                    return Err(known.start_over());
                }
                // What was recorded is lost with it: nothing is left to withdraw.
                let mut requests = self.requests();
                requests.settled.clear();
                requests.released.clear();
                drop(requests);
                if known.set_unavailable(Outage::Lost) {
                    tracing::warn!(
                        journal = self.name,
                        reason = error_text(&reason),
                        "the broker has lost this journal: delete its queue, and it is declared \
                         anew; until then redelivered notifications are handled one at a time"
                    );
                }
                Err(known.start_over())
            }
            Err(JournalError::Unreachable(reason)) => {
                if known.set_unavailable(Outage::Unreachable) {
                    let reason = error_text(&reason);
                    tracing::warn!(journal = self.name, reason, "the journal cannot be reached");
                }
                Err(known.start_over())
            }
        }
    }

    /// Records what is to be recorded, if anything is. A journal that could not be reached a moment
    /// ago is tried all the same: others may be waiting for what is withdrawn.
    async fn flush(&self) -> Result<(), Unavailable> {
        let mut known = self.known.lock().await;
        if self.requests().has_nothing_to_record() {
            return Ok(());
        }
        known.may_be_back(&[Outage::Unreachable]);
        self.append(&mut known, Entry::default(), false).await
    }

    fn flush_soon(self: &Arc<Self>) {
        if self.flushes.swap(true, Ordering::AcqRel) {
            return;
        }
        // Resets the flag also if the runtime is dropped before the task is polled.
        let mut waits = Flushes(Arc::clone(self));
        let journal = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(FLUSH_AFTER) => {}
                    () = journal.hurry.notified() => {}
                }
                drop(waits);
                let recorded = tokio::select! {
                    recorded = journal.flush() => recorded,
                    () = journal.stops.notified() => return,
                };
                let is_over = match recorded {
                    Ok(()) => journal.requests().has_nothing_to_record(),
                    Err(Unavailable::Refused) => true,
                    Err(Unavailable::Unreachable) => Arc::strong_count(&journal) == 1,
                };
                if is_over {
                    return;
                }
                // Another one may have been asked for meanwhile.
                if journal.flushes.swap(true, Ordering::AcqRel) {
                    return;
                }
                waits = Flushes(Arc::clone(&journal));
            }
        });
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resets `flushes` when dropped: no task is waiting to flush.
struct Flushes(Arc<Journal>);

impl Drop for Flushes {
    fn drop(&mut self) {
        self.0.flushes.store(false, Ordering::Release);
    }
}

impl Known {
    /// It cannot be used for a time. Whether that is new.
    fn set_unavailable(&mut self, outage: Outage) -> bool {
        let before = self.outage.replace((outage, Instant::now() + outage.lasts()));
        before.is_none_or(|(before, _)| before != outage)
    }

    /// After one of these it is tried again now.
    fn may_be_back(&mut self, outages: &[Outage]) {
        if let Some((outage, until)) = &mut self.outage
            && outages.contains(outage)
        {
            *until = Instant::now();
        }
    }

    /// It may be another one when it is reached again: read from its beginning.
    fn start_over(&mut self) -> Unavailable {
        (self.next, self.begun) = (0, HashMap::new());
        Unavailable::Unreachable
    }

    /// Takes what an entry says; one that is not of our making says nothing.
    fn apply(&mut self, entry: &[u8]) {
        let Ok(entry) = serde_json::from_slice::<Entry>(entry) else { return };
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
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::transport::driver::{Driver, JournalRead, Outgoing, Subscribed, Subscription};
    use crate::transport::error::{ConnectError, SendError};

    fn journal(transport: &Transport) -> Arc<Journal> {
        Journal::new(transport.clone(), "q.quarantine.journal".to_owned(), Duration::from_secs(9))
    }

    fn key(body: &str) -> Key {
        Key::of(body)
    }

    fn transport(name: &str) -> Transport {
        Transport::open(&format!("memory://{name}")).expect("a transport")
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_has_begun_and_never_settled_is_a_death() {
        let transport = transport("journal-deaths");
        let (first, second, third) =
            (journal(&transport), journal(&transport), journal(&transport));
        assert_eq!(first.deaths(key("a")).await, Ok(0));
        first.begin(key("a")).await.expect("a journal");
        assert_eq!(first.deaths(key("a")).await, Ok(0), "its own is no death");
        assert_eq!(second.deaths(key("a")).await, Ok(1));
        second.begin(key("a")).await.expect("a journal");
        assert_eq!(third.deaths(key("a")).await, Ok(2));
        assert_eq!(third.deaths(key("b")).await, Ok(0));
        let record = third.begin(key("a")).await.expect("a journal");
        third.settled(record);
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(first.deaths(key("a")).await, Ok(0), "nobody died of what was settled");
    }

    #[tokio::test(start_paused = true)]
    async fn an_orderly_stop_and_a_lost_session_are_no_deaths() {
        let transport = transport("journal-stops");
        let (stopped, lost, other) =
            (journal(&transport), journal(&transport), journal(&transport));
        for process in [&stopped, &lost] {
            process.begin(key("a")).await.expect("a journal");
            process.begin(key("b")).await.expect("a journal");
        }
        assert_eq!(other.deaths(key("a")).await, Ok(2));
        stopped.stop(Instant::now()).await;
        assert_eq!(other.deaths(key("a")).await, Ok(1));
        lost.release_all();
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(other.deaths(key("a")).await, Ok(0));
        assert_eq!(other.deaths(key("b")).await, Ok(0));
        // A process that goes on after its stop begins anew.
        stopped.start();
        stopped.begin(key("a")).await.expect("a journal");
        assert_eq!(other.deaths(key("a")).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_whose_caller_was_dropped_begins_nothing() {
        let transport = transport("journal-given-up");
        let (one, other) = (journal(&transport), journal(&transport));
        one.begin(key("a")).await.expect("a journal");
        let held = one.known.lock().await;
        let begins = tokio::spawn({
            let one = Arc::clone(&one);
            async move { one.begin(key("b")).await }
        });
        tokio::task::yield_now().await;
        begins.abort();
        assert!(begins.await.is_err(), "aborted");
        drop(held);
        one.stop(Instant::now()).await;
        one.start();
        one.begin(key("c")).await.expect("a journal");
        assert_eq!(other.deaths(key("b")).await, Ok(0));
        assert_eq!(other.deaths(key("c")).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_of_the_previous_run_ends_no_record_of_the_next_one() {
        let transport = transport("journal-runs");
        let (one, other) = (journal(&transport), journal(&transport));
        let before = one.begin(key("a")).await.expect("a journal");
        one.stop(Instant::now()).await;
        one.start();
        one.begin(key("a")).await.expect("a journal");
        one.released(before);
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(other.deaths(key("a")).await, Ok(1));
    }

    #[test]
    fn records_are_flushed_after_the_runtime_that_was_to_flush_them_has_ended() {
        let run = |work: &mut dyn FnMut() -> BoxFuture<'static, ()>| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
            runtime.block_on(work());
        };
        let transport = transport("journal-runtimes");
        let (one, other) = (journal(&transport), journal(&transport));
        run(&mut || {
            let one = Arc::clone(&one);
            Box::pin(async move {
                let record = one.begin(key("a")).await.expect("a journal");
                one.released(record);
            })
        });
        run(&mut || {
            let (one, other) = (Arc::clone(&one), Arc::clone(&other));
            Box::pin(async move {
                let record = one.begin(key("b")).await.expect("a journal");
                one.released(record);
                tokio::time::sleep(2 * FLUSH_AFTER).await;
                assert_eq!(other.deaths(key("b")).await, Ok(0));
            })
        });
    }

    #[tokio::test(start_paused = true)]
    async fn deaths_are_unknown_if_what_was_read_is_gone() {
        let one = journal(&transport("journal-forgotten"));
        assert_eq!(one.deaths(key("a")).await, Ok(0));
        let mut held = one.known.lock().await;
        let deaths = tokio::spawn({
            let one = Arc::clone(&one);
            async move { one.deaths(key("a")).await }
        });
        tokio::task::yield_now().await;
        // Its entry is appended. The next one finds the journal unreachable, and the one after that
        // reaches it again.
        let request = one.requests().waiting.pop().expect("it asks");
        request.done.send(Ok(())).expect("it waits");
        (held.next, held.begun) = (0, HashMap::new());
        drop(held);
        assert_eq!(deaths.await.expect("no panic"), Err(Unavailable::Unreachable));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_begun_or_waits_to_be_recorded_when_a_stop_begins_is_no_evidence() {
        let transport = transport("journal-stop-begins");
        let (one, other) = (journal(&transport), journal(&transport));
        let begun = one.begin(key("a")).await.expect("a journal");
        let held = one.known.lock().await;
        let stops = tokio::spawn({
            let one = Arc::clone(&one);
            async move { one.begin_stop().await }
        });
        tokio::task::yield_now().await;
        let begins = tokio::spawn({
            let one = Arc::clone(&one);
            async move { one.begin(key("b")).await }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(stops.await.expect("no panic"), Ok(()));
        begins.await.expect("no panic").expect("not recorded");
        one.begin(key("c")).await.expect("not recorded");
        for body in ["a", "b", "c"] {
            assert_eq!(other.deaths(key(body)).await, Ok(0), "{body}");
        }
        // Its method has ended before the process did.
        one.settled(begun);
        one.stop(Instant::now()).await;
        assert_eq!(other.deaths(key("a")).await, Ok(0));
    }

    /// As with two notifications that are equal, and with one whose session was lost and that is
    /// begun again before its first call has ended.
    #[tokio::test(start_paused = true)]
    async fn what_is_begun_more_than_once_is_evidence_until_the_last_has_ended() {
        let transport = transport("journal-twice");
        let (one, other) = (journal(&transport), journal(&transport));
        let deaths = async || {
            tokio::time::sleep(2 * FLUSH_AFTER).await;
            other.deaths(key("a")).await
        };
        let first = one.begin(key("a")).await.expect("a journal");
        let second = one.begin(key("a")).await.expect("a journal");
        one.released(first);
        assert_eq!(deaths().await, Ok(1));
        let third = one.begin(key("a")).await.expect("a journal");
        one.settled(second);
        assert_eq!(deaths().await, Ok(1), "settled once, and begun still");
        one.release_all();
        assert_eq!(deaths().await, Ok(0));
        let fourth = one.begin(key("a")).await.expect("a journal");
        one.released(third);
        assert_eq!(deaths().await, Ok(1), "the one of this session is begun");
        one.settled(fourth);
        assert_eq!(deaths().await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_withdrawn_while_it_waits_is_no_death_and_can_be_settled() {
        let transport = transport("journal-waits");
        let (died, one, other) = (journal(&transport), journal(&transport), journal(&transport));
        died.begin(key("a")).await.expect("a journal");
        let first = one.begin(key("a")).await.expect("a journal");
        let equal = one.begin(key("a")).await.expect("a journal");
        assert_eq!(other.deaths(key("a")).await, Ok(2));
        let (first, equal) = (one.withdrawn(first), one.withdrawn(equal));
        // At once: with what is begun next.
        one.begin(key("b")).await.expect("a journal");
        assert_eq!(other.deaths(key("a")).await, Ok(1));
        let again = one.begin(key("a")).await.expect("a journal");
        one.settled(first);
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(other.deaths(key("a")).await, Ok(1), "it is begun still");
        one.released(again);
        one.settled(equal);
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(other.deaths(key("a")).await, Ok(0));
    }

    /// A journal that has begun "a", and whose stop could not be recorded; and one of another process.
    async fn stopped_unrecorded(name: &str) -> (Arc<Journal>, Arc<Journal>) {
        let transport = transport(name);
        let (one, other) = (journal(&transport), journal(&transport));
        one.begin(key("a")).await.expect("a journal");
        let held = one.known.lock().await;
        one.stop(Instant::now()).await;
        drop(held);
        assert_eq!(other.deaths(key("a")).await, Ok(1));
        (one, other)
    }

    /// The process goes on in the end.
    #[tokio::test(start_paused = true)]
    async fn a_stop_that_could_not_be_recorded_is_recorded_with_what_is_begun_next() {
        let (one, other) = stopped_unrecorded("journal-late-stop").await;
        one.start();
        one.begin(key("b")).await.expect("a journal");
        assert_eq!(other.deaths(key("a")).await, Ok(0));
        assert_eq!(other.deaths(key("b")).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_that_could_not_be_recorded_is_recorded_by_the_next_one() {
        let (one, other) = stopped_unrecorded("journal-second-stop").await;
        one.stop(Instant::now()).await;
        assert_eq!(other.deaths(key("a")).await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_appends_what_was_settled_a_moment_before() {
        let transport = transport("journal-settled");
        let (died, stopped, other) =
            (journal(&transport), journal(&transport), journal(&transport));
        died.begin(key("a")).await.expect("a journal");
        let record = stopped.begin(key("a")).await.expect("a journal");
        stopped.settled(record);
        stopped.stop(Instant::now()).await;
        assert_eq!(other.deaths(key("a")).await, Ok(0));
    }

    /// The session is lost while the record of a begin is on its way: the entry says both, and the
    /// release comes once the delivery is found to be stale.
    #[tokio::test(start_paused = true)]
    async fn a_begin_that_is_recorded_after_its_session_was_lost_is_no_death() {
        let transport = transport("journal-late");
        let (one, other) = (journal(&transport), journal(&transport));
        let held = one.known.lock().await;
        let begins = tokio::spawn({
            let one = Arc::clone(&one);
            async move { one.begin(key("a")).await }
        });
        tokio::task::yield_now().await;
        one.release_all();
        drop(held);
        let record = begins.await.expect("no panic").expect("a journal");
        one.released(record);
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(other.deaths(key("a")).await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_share_entries_and_one_that_gives_up_takes_nobody_along() {
        let transport = transport("journal-shared");
        let (one, other) = (journal(&transport), journal(&transport));
        let keys: Vec<Key> = (0..100).map(|n: u32| key(&n.to_string())).collect();
        let tasks: Vec<_> = keys
            .iter()
            .map(|key| {
                let (one, key) = (Arc::clone(&one), *key);
                tokio::spawn(async move { one.begin(key).await })
            })
            .collect();
        tasks[0].abort();
        for task in tasks.into_iter().skip(1) {
            task.await.expect("not aborted").expect("a journal");
        }
        for key in &keys[1..] {
            assert_eq!(other.deaths(*key).await, Ok(1));
        }
    }

    /// A driver of journals alone: what it answers.
    struct Answering<F>(F);

    impl<F, A> Driver for Answering<F>
    where
        F: Fn(JournalAppend) -> A + Send + Sync + 'static,
        A: Future<Output = Result<JournalRead, JournalError>> + Send + 'static,
    {
        fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
            unreachable!("nothing is consumed")
        }

        fn send(&self, _: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
            unreachable!("nothing is sent")
        }

        fn journal(
            &self,
            append: JournalAppend,
        ) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
            Box::pin((self.0)(append))
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_recorded_any_more_when_a_stop_has_given_up() {
        let waiting = Arc::new(());
        let silent = Answering({
            let waiting = Arc::clone(&waiting);
            move |_| {
                let waiting = Arc::clone(&waiting);
                async move {
                    let _waiting = waiting;
                    std::future::pending().await
                }
            }
        });
        let journal = journal(&Transport::new(silent, "silent"));
        let record = journal.requests().begin(key("a"));
        journal.settled(record);
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(Arc::strong_count(&waiting), 3, "it is being recorded");
        journal.stop(Instant::now()).await;
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&waiting), 2, "the driver alone has one");
    }

    /// Journals in memory that are lost while the flag is set, and how often they were asked for.
    #[derive(Clone)]
    struct Losing {
        kept: Transport,
        is_lost: Arc<AtomicBool>,
        asked: Arc<AtomicUsize>,
    }

    impl Losing {
        fn new(name: &str) -> Self {
            let is_lost = Arc::new(AtomicBool::new(true));
            Self { kept: transport(name), is_lost, asked: Arc::default() }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }

        fn journal(&self) -> Arc<Journal> {
            let losing = self.clone();
            let driver = Answering(move |append| {
                let losing = losing.clone();
                async move {
                    losing.asked.fetch_add(1, Ordering::Relaxed);
                    if losing.is_lost.load(Ordering::Relaxed) {
                        return Err(JournalError::Lost("506".to_owned()));
                    }
                    losing.kept.journal(append).await
                }
            });
            journal(&Transport::new(driver, "losing"))
        }

        /// A journal that has been lost for long enough, with something begun before.
        async fn lost_for_long(&self) -> (Arc<Journal>, Record) {
            let journal = self.journal();
            self.is_lost.store(false, Ordering::Relaxed);
            let record = journal.begin(key("begun")).await.expect("a journal");
            self.is_lost.store(true, Ordering::Relaxed);
            assert_eq!(journal.deaths(key("a")).await, Err(Unavailable::Unreachable));
            tokio::time::sleep(LOST_AFTER).await;
            self.asked.store(0, Ordering::Relaxed);
            assert_eq!(journal.deaths(key("a")).await, Err(Unavailable::Unreachable));
            (journal, record)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_journal_is_asked_for_once_a_minute_if_somebody_needs_it_and_in_each_session() {
        let losing = Losing::new("journal-lost");
        let (journal, record) = losing.lost_for_long().await;
        for _ in 0..3 {
            assert_eq!(journal.deaths(key("a")).await, Err(Unavailable::Unreachable));
        }
        assert_eq!(losing.asked(), 1);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(losing.asked(), 1, "nobody has anything to record");
        // What is to be recorded waits, and is dropped with the next answer.
        journal.released(record);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(losing.asked(), 2);
        journal.attached();
        let _ = journal.deaths(key("a")).await;
        assert_eq!(losing.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_journal_that_is_found_a_moment_later_is_not_lost() {
        let losing = Losing::new("journal-declared");
        let journal = losing.journal();
        assert!(journal.begin(key("a")).await.is_err());
        losing.is_lost.store(false, Ordering::Relaxed);
        tokio::time::sleep(Outage::Unreachable.lasts()).await;
        journal.begin(key("a")).await.expect("a journal");
        losing.is_lost.store(true, Ordering::Relaxed);
        tokio::time::sleep(2 * LOST_AFTER).await;
        // That it was lost before says nothing.
        let _ = journal.deaths(key("a")).await;
        losing.is_lost.store(false, Ordering::Relaxed);
        journal.begin_stop().await.expect("a journal");
        let other = self::journal(&losing.kept);
        assert_eq!(other.deaths(key("a")).await, Ok(0), "the stop was recorded");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_asks_for_no_lost_journal_and_the_next_run_records_as_usual() {
        let losing = Losing::new("journal-stopped");
        let (journal, _record) = losing.lost_for_long().await;
        let before = losing.asked();
        journal.stop(Instant::now()).await;
        assert_eq!(losing.asked(), before);
        losing.is_lost.store(false, Ordering::Relaxed);
        journal.start();
        tokio::time::sleep(Outage::Lost.lasts()).await;
        let record = journal.begin(key("begun")).await.expect("a journal");
        let other = self::journal(&losing.kept);
        assert_eq!(other.deaths(key("begun")).await, Ok(1));
        journal.released(record);
        tokio::time::sleep(2 * FLUSH_AFTER).await;
        assert_eq!(other.deaths(key("begun")).await, Ok(0));
    }

    #[tokio::test]
    async fn a_driver_without_journals_gives_no_evidence() {
        let without = Answering(|append: JournalAppend| {
            std::future::ready(Err(JournalError::Unsupported(append.journal)))
        });
        let journal = journal(&Transport::new(without, "bare"));
        assert_eq!(journal.deaths(key("a")).await, Err(Unavailable::Refused));
        assert_eq!(journal.begin(key("a")).await.err(), Some(Unavailable::Refused));
        journal.stop(Instant::now()).await;
    }

    #[test]
    fn what_is_not_of_our_making_says_nothing() {
        let mut known = Known::default();
        for text in ["", "{", "[]", "{\"begin\": [\"x\"]}", "{\"begin\": 7}"] {
            known.apply(text.as_bytes());
        }
        assert!(known.begun.is_empty());
    }

    #[test]
    fn what_others_begin_is_bounded() {
        let mut known = Known::default();
        let begin = |keys: std::ops::Range<u64>| {
            let begin = keys.map(Key).collect();
            serde_json::to_vec(&Entry { process: "p".to_owned(), begin, ..Entry::default() })
        };
        for part in 0..30 {
            let keys = part * 10_000..(part + 1) * 10_000;
            known.apply(&begin(keys).expect("JSON"));
            assert!(known.begun.len() <= REMEMBERED);
        }
    }
}
