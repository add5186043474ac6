//! The journal: a stream in which all processes of a queue record the suspects that they begin. A record
//! that is neither ended nor withdrawn is evidence of a crash. `requests.rs` makes the entries, `state.rs`
//! reads them. `examine.rs` asks for crashes, which `quarantine.rs` decides on; `isolation.rs` begins records
//! and `settlement.rs` ends them.

mod entry;
mod state;
mod requests;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub(crate) use crate::runtime::suspect::journal::entry::Key;
pub(crate) use crate::runtime::suspect::journal::requests::Record;
pub(crate) use crate::runtime::suspect::journal::state::Unavailable;

use crate::redact::error_text;
use crate::runtime::suspect::journal::entry::JournalEntry;
use crate::runtime::suspect::journal::requests::{Request, Requests};
use crate::runtime::suspect::journal::state::{JournalState, Outage};
use crate::transport::Transport;
use crate::transport::driver::JournalAppend;
use crate::transport::error::JournalError;

/// The delay before the end of a suspect is recorded, so that several share an entry.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// The longest that appending an entry may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stop waits for its record, within these bounds: until its deadline.
pub(crate) const MIN_STOP_WAIT: Duration = Duration::from_secs(1);
const MAX_STOP_WAIT: Duration = Duration::from_secs(2);

/// The journal of a pool or a topic, as used by one process.
#[derive(Debug)]
pub(crate) struct Journal {
    transport: Transport,
    name: String,
    /// Identifies this process. A process that is started again has another name.
    process: String,
    timeout: Duration,
    requests: Mutex<Requests>,
    /// Locked by the caller that appends an entry for all waiting ones.
    state: tokio::sync::Mutex<JournalState>,
    /// Whether a task waits to flush.
    is_flush_scheduled: AtomicBool,
    /// Notified to flush without delay.
    flush_now: Notify,
    /// Notified when the process stops: the stop records everything.
    stopping: Notify,
}

impl Journal {
    pub(crate) fn new(transport: Transport, name: String, timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            transport,
            name,
            process: uuid::Uuid::new_v4().simple().to_string(),
            timeout: timeout.min(TIMEOUT),
            requests: Mutex::default(),
            state: tokio::sync::Mutex::default(),
            is_flush_scheduled: AtomicBool::new(false),
            flush_now: Notify::new(),
            stopping: Notify::new(),
        })
    }

    /// How many other processes have begun this suspect, and neither settled nor released it. Includes
    /// everything that was recorded before this call.
    pub(crate) async fn crashes(&self, key: Key) -> Result<usize, Unavailable> {
        self.request(None).await?;
        // Another caller may have found the journal unreachable in between.
        self.state.lock().await.crashes(key, &self.process).ok_or(Unavailable::Unreachable)
    }

    /// Records that this process begins a suspect. Once this returns, the record outlives the process.
    pub(crate) async fn begin(self: &Arc<Self>, key: Key) -> Result<Record, Unavailable> {
        let record = self.requests().begin(key);
        let unavailable = match self.request(Some(key)).await {
            Ok(()) => return Ok(record),
            Err(unavailable) => unavailable,
        };
        match unavailable {
            // The record may exist nevertheless, or an equal delivery may have one.
            Unavailable::Unreachable => self.released(record),
            Unavailable::Refused => {
                self.requests().end(record);
            }
        }
        Err(unavailable)
    }

    /// A suspect that was begun is settled; recorded soon. If equal deliveries are still begun, that is
    /// recorded again in the same entry.
    pub(crate) fn settled(self: &Arc<Self>, record: Record) {
        self.requests().record_settled(record);
        self.schedule_flush();
    }

    /// A suspect that was begun is returned to the broker by a process that is alive; recorded soon, unless
    /// this process has begun another delivery of it.
    pub(crate) fn released(self: &Arc<Self>, record: Record) {
        let is_recorded = self.requests().record_released(record);
        if is_recorded {
            self.schedule_flush();
        }
    }

    /// A suspect that was begun only waits: its record is no evidence until it is begun again. It can
    /// still be settled.
    pub(crate) fn withdrawn(self: &Arc<Self>, record: Record) -> Record {
        self.released(record);
        record.withdrawn()
    }

    /// A new session begins: the journal may be reachable again.
    pub(crate) fn attached(self: &Arc<Self>) {
        // A caller that holds the lock is using the journal.
        if let Ok(mut state) = self.state.try_lock() {
            state.retry_now(&[Outage::Unreachable, Outage::Lost]);
        }
        self.release_all();
    }

    /// The session is lost: the broker redelivers everything that was begun. Recorded without delay,
    /// because other processes decide by it soon.
    pub(crate) fn release_all(self: &Arc<Self>) {
        let is_recorded = self.requests().release_all();
        if is_recorded {
            self.schedule_flush();
            self.flush_now.notify_one();
        }
    }

    /// Begins a run: what this process begins is recorded, also after a stop.
    pub(crate) fn start(&self) {
        self.requests().start();
    }

    /// Records an orderly stop of this process: nothing that it began is evidence any more, even if its
    /// methods run on, and what it begins from now on is not recorded. Returns without an entry if there
    /// is nothing to withdraw. Interrupts a flush, and records the same.
    pub(crate) async fn begin_stop(&self) -> Result<(), Unavailable> {
        self.requests().stop();
        self.stopping.notify_waiters();
        self.append_stop().await
    }

    /// As `begin_stop`, at the end of a stop with this deadline, for everything that is not recorded yet.
    /// Waits for a short time only.
    pub(crate) async fn stop(&self, deadline: Instant) {
        let now = Instant::now();
        let until = deadline.clamp(now + MIN_STOP_WAIT, now + MAX_STOP_WAIT);
        let stopped = tokio::time::timeout_at(until, self.begin_stop()).await;
        if !matches!(stopped, Ok(Ok(()))) {
            self.requests().postpone_stop();
            tracing::warn!(
                journal = self.name,
                "the stop could not be recorded: notifications that were being handled may be quarantined \
                 although no process crashed"
            );
        }
    }

    async fn append_stop(&self) -> Result<(), Unavailable> {
        let mut state = self.state.lock().await;
        if self.requests().has_nothing_to_withdraw() {
            return Ok(());
        }
        if state.is_lost() {
            // The records are lost with it.
            self.requests().postpone_stop();
            return Ok(());
        }
        // The outage may be over.
        state.retry_now(&[Outage::Refused, Outage::Unreachable]);
        let entry = JournalEntry { stopped: true, ..JournalEntry::default() };
        self.append(&mut state, entry, false).await?;
        self.requests().stopped();
        Ok(())
    }

    /// Waits until an entry is appended that begins this suspect, or reads all earlier ones. One caller
    /// appends an entry for all callers that wait meanwhile.
    async fn request(&self, begin: Option<Key>) -> Result<(), Unavailable> {
        loop {
            let (done, mut answer) = oneshot::channel();
            self.requests().waiting.push(Request { begin, done });
            let mut state = self.state.lock().await;
            match answer.try_recv() {
                Ok(result) => return result,
                // The caller that appended for this one was dropped.
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let mut batch = self.requests().take_batch();
            let result = if batch.is_empty() {
                Ok(())
            } else {
                let entry = JournalEntry {
                    begin: std::mem::take(&mut batch.begin),
                    ..JournalEntry::default()
                };
                self.append(&mut state, entry, batch.reads).await
            };
            batch.answer(result);
            return result;
        }
    }

    /// Appends an entry, with everything else that is due.
    async fn append(
        &self,
        state: &mut JournalState,
        entry: JournalEntry,
        reads: bool,
    ) -> Result<(), Unavailable> {
        if let Some(unavailable) = state.unavailable() {
            return Err(unavailable);
        }
        let (process, number) = (self.process.clone(), state.next_number);
        state.next_number += 1;
        let entry = JournalEntry { process, number, ..self.requests().complete(entry) };
        let Ok(text) = serde_json::to_vec(&entry) else { return Err(Unavailable::Refused) };
        let append = JournalAppend {
            journal: self.name.clone(),
            entry: Bytes::from(text),
            read_from: reads.then_some(state.next),
            timeout: self.timeout,
        };
        match self.transport.journal(append).await {
            Ok(read) => {
                state.reached();
                if reads {
                    state.read(&read);
                }
                self.requests().recorded(&entry);
                Ok(())
            }
            Err(error) => {
                let (outage, is_logged) = state.failed(&error);
                if outage == Outage::Lost {
                    self.requests().forget_recorded();
                }
                if is_logged {
                    self.log_outage(&error);
                }
                Err(outage.unavailable())
            }
        }
    }

    fn log_outage(&self, error: &JournalError) {
        let journal = &self.name;
        match error {
            JournalError::Unsupported(reason) => tracing::warn!(
                journal,
                reason = error_text(reason),
                "poison messages cannot be recognised: grant the user the permission \
                 to configure and read this journal, and to write to \"amq.default\""
            ),
            JournalError::Lost(reason) => tracing::warn!(
                journal,
                reason = error_text(reason),
                "the broker has lost this journal: delete its queue, so that it is declared again; until \
                 then redelivered notifications are handled one at a time"
            ),
            JournalError::Unreachable(reason) => {
                tracing::warn!(
                    journal,
                    reason = error_text(reason),
                    "the journal cannot be reached"
                );
            }
        }
    }

    /// Records what is due, if anything is. A journal that could not be reached a moment ago is
    /// tried again: other processes may wait for what is withdrawn.
    async fn flush(&self) -> Result<(), Unavailable> {
        let mut state = self.state.lock().await;
        if self.requests().has_nothing_to_record() {
            return Ok(());
        }
        state.retry_now(&[Outage::Unreachable]);
        self.append(&mut state, JournalEntry::default(), false).await
    }

    /// Flushes soon, in a task of its own, again until everything is recorded.
    fn schedule_flush(self: &Arc<Self>) {
        if self.is_flush_scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut scheduled = ScheduledFlush(Arc::clone(self));
        let journal = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(FLUSH_AFTER) => {}
                    () = journal.flush_now.notified() => {}
                }
                drop(scheduled);
                let recorded = tokio::select! {
                    recorded = journal.flush() => recorded,
                    () = journal.stopping.notified() => return,
                };
                let is_over = match recorded {
                    Ok(()) => journal.requests().has_nothing_to_record(),
                    Err(Unavailable::Refused) => true,
                    Err(Unavailable::Unreachable) => Arc::strong_count(&journal) == 1,
                };
                // Another task may have been scheduled meanwhile.
                if is_over || journal.is_flush_scheduled.swap(true, Ordering::AcqRel) {
                    return;
                }
                scheduled = ScheduledFlush(Arc::clone(&journal));
            }
        });
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resets `is_flush_scheduled` when dropped, also if the runtime is dropped before the task is polled.
struct ScheduledFlush(Arc<Journal>);

impl Drop for ScheduledFlush {
    fn drop(&mut self) {
        self.0.is_flush_scheduled.store(false, Ordering::Release);
    }
}
