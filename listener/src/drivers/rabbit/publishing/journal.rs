//! Journals: each is a stream queue, to which every process appends and which each reads on its
//! own. What the entries mean is the runtime's. The stream is declared in `topology.rs`; called
//! by `Rabbit::journal`.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::BasicQosOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::{Instant, timeout_at};

use super::confirms::fate_of;
use super::message::{Fate, Message, Need};
use super::publisher::{Publisher, SendSession};
use crate::drivers::rabbit::connection::link::{call, close_channel, consume};
use crate::drivers::rabbit::connection::refusal::{self, Failure, Fault};
use crate::drivers::rabbit::consuming::ledger::{Written, write};
use crate::transport::delivery::Properties;
use crate::transport::driver::{JournalAppend, JournalRead, Outgoing, Route};
use crate::transport::error::{ConnectError, JournalError};

/// How many entries may be on their way from the broker: a full journal has tens of thousands.
const PREFETCH: u16 = 2000;

/// So many are acknowledged at once: each acknowledgement lets the broker send as many more.
const ACKNOWLEDGED: u64 = 250;

/// Said where nothing is in the way that the driver knows of.
const SILENT: &str = "no answer in time, though the connection stands: look whether the broker has the \
                      stream running with a leader, at its log and at its disk";
const NO_CONNECTION: &str = "no connection in time";

/// Appends, and reads what was appended before.
pub(crate) async fn append(
    publisher: Publisher,
    append: JournalAppend,
) -> Result<JournalRead, JournalError> {
    let late = || {
        let usual = if publisher.current().is_some() { SILENT } else { NO_CONNECTION };
        JournalError::Unreachable(publisher.obstacle().unwrap_or_else(|| usual.to_owned()))
    };
    let until = Instant::now() + append.timeout;
    let appended = timeout_at(until, attempts(&publisher, &append, until)).await;
    appended.unwrap_or_else(|_| Err(late()))
}

/// Why an attempt failed.
enum Failed {
    /// The broker closed the connection, which nothing but this journal uses, for what was appended.
    Lost(Fault),
    Other(Failure),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Other(fault.into())
    }
}

/// Tries again with each session until one attempt has an answer.
async fn attempts(
    publisher: &Publisher,
    append: &JournalAppend,
    until: Instant,
) -> Result<JournalRead, JournalError> {
    let mut newer_than = 0;
    loop {
        let session = publisher
            .session(newer_than, until)
            .await
            .map_err(|error| JournalError::Unreachable(error.to_string()))?;
        match attempt(&session, append).await {
            Ok(read) => return Ok(read),
            Err(Failed::Lost(fault)) => return Err(JournalError::Lost(fault.to_string())),
            Err(Failed::Other(Failure::Mistake(error))) => {
                return Err(JournalError::Unsupported(error.to_string()));
            }
            Err(Failed::Other(Failure::Transient { reason, .. })) => {
                tracing::debug!(journal = append.journal, reason, "the journal is tried again");
                if session.is_open() {
                    return Err(JournalError::Unreachable(reason));
                }
                newer_than = session.generation;
            }
        }
    }
}

async fn attempt(session: &SendSession, append: &JournalAppend) -> Result<JournalRead, Failed> {
    let need = Need::Journal(append.journal.clone());
    let prepared = session.prepare(&need).await?;
    let message = Message::new(&outgoing(append), &need)
        .map_err(|error| Failure::transient(error.to_string()))?;
    match fate_of(session.submit(Arc::new(message)).await) {
        Fate::Confirmed => {}
        fate => {
            // Whichever message it was that closed the channel: an entry goes the same way.
            if let Fate::Spoiled(fault) = &fate
                && let Some(error) = refusal::no_default_exchange(fault, session.user())
            {
                return Err(Failure::Mistake(error).into());
            }
            if let Fate::Lost(fault) = &fate
                && is_lost(fault)
            {
                return Err(Failed::Lost(fault.clone()));
            }
            // It may have been deleted: it is declared anew for the next attempt.
            session.forget(&need, &prepared);
            let reason = format!("the entry was not confirmed: {fate:?}");
            return Err(Failure::transient(reason).into());
        }
    }
    let Some(from) = append.read_from else { return Ok(JournalRead::default()) };
    let channel = session.channel().await?;
    let read = read(&channel, append, from).await;
    // A scratch channel: that it closes is all there is to say of it.
    let _ = close_channel(&channel).await;
    let action = format!("read journal {:?}", append.journal);
    read.map_err(|fault| not_read(fault, &action, session.user()).into())
}

/// Whether the broker has the queue and not its stream: for a moment while another process declares it,
/// or for ever.
fn is_lost(fault: &Fault) -> bool {
    matches!(fault, Fault::Broker { code: 506, text } if text.contains("Stream not found"))
}

/// Only a missing permission is permanent: a node whose replica of the stream does not run, as when
/// it has just started, refuses to read it for that.
fn not_read(fault: Fault, action: &str, user: &str) -> Failure {
    match refusal::doing(fault, action, user) {
        Failure::Mistake(mistake @ ConnectError::Forbidden { .. }) => Failure::Mistake(mistake),
        Failure::Mistake(mistake) => Failure::transient(mistake.to_string()),
        transient @ Failure::Transient { .. } => transient,
    }
}

/// All entries from a position up to the one that was appended, which is there.
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
        if tag % ACKNOWLEDGED == 0 {
            write(channel, &[Written::Ack { tag, multiple: true }])?;
        }
        if let Some(offset) = offset_of(&entry) {
            // A chunk is delivered from its beginning on.
            if offset < from {
                continue;
            }
            next = offset + 1;
        }
        let is_own = *entry.data == *append.entry;
        entries.push(Bytes::from(entry.data));
        if is_own {
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
    Outgoing {
        route: Route::Queue(append.journal.clone()),
        body: append.entry.clone(),
        properties,
        timeout: append.timeout,
    }
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
            not_read(fault, "read journal \"j\"", "tap")
        };
        let forbidden = of(403, "ACCESS_REFUSED - read access to queue 'j' refused");
        assert!(matches!(forbidden, Failure::Mistake(ConnectError::Forbidden { .. })));
        for text in [
            "PRECONDITION_FAILED - queue 'j' in vhost '/' does not have a replica on the local node",
            "PRECONDITION_FAILED - stream 'j' does not have a running replica on the local node",
        ] {
            assert!(matches!(of(406, text), Failure::Transient { .. }), "{text}");
        }
    }
}
