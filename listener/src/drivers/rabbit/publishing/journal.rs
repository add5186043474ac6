//! Journals: streams to which all processes append, and which each reads independently. The runtime
//! defines the entries. The stream is declared in `topology/destination.rs`. Called by
//! `Rabbit::journal`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::BasicQosOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::{Instant, timeout_at};

use super::confirms::received;
use super::message::{Destination, Message, PublishResult};
use super::publisher::{Publisher, Retries};
use super::session::PublishSession;
use crate::drivers::rabbit::connection::channel::{ack, call, close_channel, consume};
use crate::drivers::rabbit::connection::failure::{
    Failure, Fault, Operation, no_default_exchange, operation_failed,
};
use crate::drivers::rabbit::connection::refusal::Refusal;
use crate::transport::delivery::Properties;
use crate::transport::driver::{JournalAppend, JournalRead, Outgoing, Route};
use crate::transport::error::{ConnectError, JournalError};

/// The prefetch while a journal is read: a full one has tens of thousands of entries.
const PREFETCH: u16 = 2000;

/// How many entries one acknowledgement covers: the broker then sends as many more.
const ACK_EVERY: u64 = 250;

/// The reason if the driver knows of no obstacle.
const NO_ANSWER: &str = "no answer in time, though the connection is open: check whether the broker has the \
                      stream running with a leader, at its log and at its disk";
const NO_CONNECTION: &str = "no connection in time";

/// How many attempts must miss the stream until it counts as lost: while another process
/// declares the journal, the broker also has the queue before it has the stream.
const ATTEMPTS_UNTIL_LOST: u32 = 3;

/// A journal of this process: its connection, and what is known of its stream.
#[derive(Clone)]
pub(crate) struct Journal {
    pub(crate) publisher: Publisher,
    /// The stream counted as lost when an entry was last appended.
    is_lost: Arc<AtomicBool>,
}

impl Journal {
    pub(crate) fn new(publisher: Publisher) -> Self {
        Self { publisher, is_lost: Arc::default() }
    }

    /// Appends an entry, and reads those before it.
    pub(crate) async fn append(self, append: JournalAppend) -> Result<JournalRead, JournalError> {
        let until = Instant::now() + append.timeout;
        let appended = timeout_at(until, attempts(&self, &append, until)).await;
        appended.unwrap_or_else(|_| {
            let default =
                if self.publisher.current().is_some() { NO_ANSWER } else { NO_CONNECTION };
            let obstacle = self.publisher.blocked();
            Err(JournalError::Unreachable(obstacle.unwrap_or_else(|| default.to_owned())))
        })
    }

    /// Whether the stream, which this many attempts have missed, counts as lost.
    fn counts_as_lost(&self, missed: u32) -> bool {
        if missed >= ATTEMPTS_UNTIL_LOST {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        self.is_lost.load(Ordering::Relaxed)
    }
}

/// Why an attempt failed.
enum AppendError {
    /// The broker closed the connection, which only this journal uses, because of the appended entry.
    Lost(Fault),
    Other(Failure),
}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<Fault> for AppendError {
    fn from(fault: Fault) -> Self {
        Self::Other(fault.into())
    }
}

/// Repeats the attempt with each new session until one has a result.
async fn attempts(
    journal: &Journal,
    append: &JournalAppend,
    until: Instant,
) -> Result<JournalRead, JournalError> {
    let mut newer_than = 0;
    let mut missed = 0;
    loop {
        let session = journal
            .publisher
            .session(newer_than, until, &Retries::default())
            .await
            .map_err(|error| JournalError::Unreachable(error.to_string()))?;
        match attempt(&session, append).await {
            Ok(read) => {
                journal.is_lost.store(false, Ordering::Relaxed);
                return Ok(read);
            }
            Err(AppendError::Lost(fault)) => {
                missed += 1;
                if journal.counts_as_lost(missed) {
                    return Err(JournalError::Lost(fault.to_string()));
                }
                tracing::debug!(journal = append.journal, %fault, "the broker has no stream yet; it is tried again");
                newer_than = session.generation;
            }
            Err(AppendError::Other(Failure::Permanent(error))) => {
                return Err(JournalError::Unsupported(error.to_string()));
            }
            Err(AppendError::Other(Failure::Transient { reason, .. })) => {
                tracing::debug!(
                    journal = append.journal,
                    reason,
                    "the entry could not be appended to the journal; it is tried again"
                );
                if session.is_open() {
                    return Err(JournalError::Unreachable(reason));
                }
                newer_than = session.generation;
            }
        }
    }
}

async fn attempt(
    session: &PublishSession,
    append: &JournalAppend,
) -> Result<JournalRead, AppendError> {
    let destination = Destination::Journal(append.journal.clone());
    let preparation = session.prepare(&destination).await?;
    let message = Message::new(&outgoing(append), &destination)
        .map_err(|error| Failure::transient(error.to_string()))?;
    match received(session.submit(Arc::new(message)).await) {
        PublishResult::Confirmed => {}
        result => {
            // Another entry may have closed the channel, but all use the default exchange.
            if let PublishResult::ChannelClosed(fault) = &result
                && let Some(error) = no_default_exchange(fault, session.user())
            {
                return Err(Failure::Permanent(error).into());
            }
            if let PublishResult::ConnectionLost(fault) = &result
                && is_lost(fault)
            {
                return Err(AppendError::Lost(fault.clone()));
            }
            // The journal may have been deleted: it is declared again for the next attempt.
            session.forget(&destination, &preparation);
            let reason = format!("the entry was not confirmed: {result:?}");
            return Err(Failure::transient(reason).into());
        }
    }
    let Some(from) = append.read_from else { return Ok(JournalRead::default()) };
    let channel = session.channel().await?;
    let read = read(&channel, append, from).await;
    // A scratch channel: an error here changes nothing.
    let _ = close_channel(&channel).await;
    read.map_err(|fault| not_read(fault, &append.journal, session.user()).into())
}

/// Whether the broker has the queue but not its stream: for a moment, while another process declares it,
/// or for good.
fn is_lost(fault: &Fault) -> bool {
    fault.refusal() == Some(Refusal::StreamNotFound)
}

/// The failure of a read. Only a missing permission is permanent: a node also refuses while its replica
/// of the stream does not run, as when it has just started.
fn not_read(fault: Fault, journal: &str, user: &str) -> Failure {
    match operation_failed(fault, Operation::read_journal(journal), user) {
        Failure::Permanent(error @ ConnectError::Forbidden { .. }) => Failure::Permanent(error),
        Failure::Permanent(error) => Failure::transient(error.to_string()),
        transient @ Failure::Transient { .. } => transient,
    }
}

/// All entries from an offset up to the one that was appended.
async fn read(channel: &Channel, append: &JournalAppend, from: u64) -> Result<JournalRead, Fault> {
    call(channel.basic_qos(PREFETCH, BasicQosOptions { global: false })).await?;
    let mut arguments = FieldTable::default();
    let offset = match i64::try_from(from) {
        Ok(0) | Err(_) => AMQPValue::LongString("first".into()),
        Ok(from) => AMQPValue::LongLongInt(from),
    };
    arguments.insert("x-stream-offset".into(), offset);
    let name = append.journal.as_str().into();
    let mut consumer = consume(channel, name, "".into(), arguments).await?;
    let mut entries = Vec::new();
    let mut next = from;
    while let Some(entry) = consumer.next().await {
        let entry = entry.map_err(|error| Fault::from(&error))?;
        let tag = entry.delivery_tag;
        if tag % ACK_EVERY == 0 {
            ack(channel, tag, true)?;
        }
        if let Some(offset) = offset_of(&entry) {
            // RabbitMQ delivers whole chunks, which may begin earlier.
            if offset < from {
                continue;
            }
            next = offset + 1;
        }
        let is_appended = *entry.data == *append.entry;
        entries.push(Bytes::from(entry.data));
        if is_appended {
            return Ok(JournalRead { entries, next });
        }
    }
    Err(Fault::Other("the journal was deleted".to_owned()))
}

fn offset_of(entry: &lapin::message::Delivery) -> Option<u64> {
    let headers = entry.properties.headers().as_ref()?;
    match headers.inner().get("x-stream-offset")? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        _ => None,
    }
}

fn outgoing(append: &JournalAppend) -> Outgoing {
    let properties =
        Properties { content_type: Some("application/json".into()), ..Properties::default() };
    let route = Route::Queue(append.journal.clone());
    Outgoing::new(route, append.entry.clone(), append.timeout).properties(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_that_is_not_found_is_lost() {
        let of = |text: &str| is_lost(&Fault::Broker { code: 506, text: text.to_owned() });
        assert!(of("RESOURCE_ERROR - Stream not found for queue 'j' in vhost '/'"));
        assert!(!of("RESOURCE_ERROR - Stream coordinator unavailable for queue 'j' in vhost '/'"));
        assert!(!of("RESOURCE_ERROR - failed to deliver message: timeout"));
    }

    #[test]
    fn only_a_missing_permission_to_read_is_permanent() {
        let of = |code, text: &str| {
            let fault = Fault::Broker { code, text: text.to_owned() };
            not_read(fault, "j", "tap")
        };
        let forbidden = of(403, "ACCESS_REFUSED - read access to queue 'j' refused");
        assert!(matches!(forbidden, Failure::Permanent(ConnectError::Forbidden { .. })));
        for text in [
            "PRECONDITION_FAILED - queue 'j' in vhost '/' does not have a replica on the local node",
            "PRECONDITION_FAILED - stream 'j' does not have a running replica on the local node",
        ] {
            assert!(matches!(of(406, text), Failure::Transient { .. }), "{text}");
        }
    }
}
