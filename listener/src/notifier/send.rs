//! Writes a notification as one message for each topic, and sends the messages; while the broker does not
//! confirm, to the spool, if there is one. The driver reconnects and waits for confirmations.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::envelope::{self, Compression, EncodeError, EnvelopeVersion, Message};
use crate::notification::context::Context;
use crate::notification::priority::Priority;
use crate::notification::trace::TraceContext;
use crate::notifier::error::{NotifyError, Unsent};
use crate::notifier::message::OutgoingMessage;
use crate::notifier::outputs::Output;
use crate::notifier::outputs::routing::Routing;
use crate::notifier::receipt::Receipt;
use crate::notifier::redaction::Redaction;
use crate::notifier::retry::Retry;
use crate::notifier::spool::Spool;
use crate::notifier::window::{Permit, Window};
use crate::serializer::Serializer;
use crate::target::{Target, routing_key};
use crate::transport::Transport;
use crate::transport::error::SendError;

/// The settings that the clones of a notifier share.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) topics: Vec<Target>,
    pub(super) control_exchange: String,
    /// In this order. With one to the broker alone, `fan_out.rs` is not used.
    pub(super) outputs: Vec<Output>,
    pub(super) routings: Vec<Routing>,
    pub(super) redaction: Redaction,
    pub(super) compression: Option<Compression>,
    pub(super) serializer: Option<Arc<dyn Serializer>>,
    pub(super) timeout: Duration,
    pub(super) max_body: usize,
    pub(super) window: Window,
    /// Limits the notifications that are enqueued.
    pub(super) queue: Window,
    pub(super) spool: Option<Spool>,
}

/// What a call says about its notification, except context and payload.
#[derive(Clone, Copy)]
pub(super) struct Header<'s> {
    pub(super) publisher_id: Option<&'s str>,
    pub(super) priority: Priority,
    pub(super) event_type: &'s str,
    pub(super) retry: Retry,
    pub(super) trace: Option<&'s TraceContext>,
}

/// What is the same for all topics and outputs.
pub(super) struct Stamp {
    pub(super) message_id: String,
    pub(super) timestamp: String,
}

impl Stamp {
    pub(super) fn now() -> Self {
        let timestamp = timestamp(OffsetDateTime::now_utc());
        Self { message_id: Uuid::new_v4().to_string(), timestamp }
    }
}

impl Settings {
    /// The envelope version, if its only output is the broker.
    pub(super) fn only_version(&self) -> Option<EnvelopeVersion> {
        match (self.outputs.as_slice(), self.routings.as_slice()) {
            ([only], []) => only.version(),
            _ => None,
        }
    }

    /// One message for each topic.
    ///
    /// # Errors
    /// The notification cannot be written, or is too large.
    pub(super) fn write<P: Serialize + ?Sized>(
        &self,
        version: EnvelopeVersion,
        header: Header<'_>,
        context: &Context,
        payload: &P,
    ) -> Result<Vec<OutgoingMessage>, NotifyError> {
        let stamp = Stamp::now();
        let messages = match &self.serializer {
            None => {
                let context = self.context_of(header, context)?;
                self.encode(version, &stamp, header, &context, payload)?
            }
            // The payload is serialized with the original context, as in oslo.messaging.
            Some(serializer) => {
                let payload = serde_json::to_value(payload).map_err(EncodeError::Payload)?;
                let payload = serializer
                    .serialize_payload(context, payload)
                    .map_err(NotifyError::Serializer)?;
                let context = self.context_of(header, context)?;
                self.encode(version, &stamp, header, &context, &payload)?
            }
        };
        self.checked(messages)
    }

    /// The context for the wire: redacted, then serialized, then with the trace, which a serializer could drop.
    pub(super) fn context_of<'c>(
        &self,
        header: Header<'_>,
        context: &'c Context,
    ) -> Result<Cow<'c, Context>, NotifyError> {
        let mut context = self.redaction.apply(context);
        if let Some(serializer) = &self.serializer {
            let serialized = serializer.serialize_context(context.into_owned());
            context = Cow::Owned(serialized.map_err(NotifyError::Serializer)?);
        }
        if let Some(trace) = header.trace {
            trace.write_to(context.to_mut());
        }
        Ok(context)
    }

    /// The messages, unless one is too large.
    pub(super) fn checked(
        &self,
        messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<OutgoingMessage>, NotifyError> {
        let largest = messages.iter().map(|message| message.body.len()).max().unwrap_or(0);
        if largest > self.max_body {
            return Err(NotifyError::TooLarge { size: largest, limit: self.max_body });
        }
        Ok(messages)
    }

    /// Sends to all topics at once, and waits until each message is confirmed or spooled.
    pub(super) async fn send(
        &self,
        transport: &Transport,
        messages: Vec<OutgoingMessage>,
        retry: Retry,
    ) -> Result<Receipt, NotifyError> {
        let bytes = messages.iter().map(|message| message.body.len()).sum();
        let Some((permit, left)) = self.window.enter(bytes, self.timeout).await else {
            return Err(NotifyError::WindowFull {
                window: self.window.notifications,
                after: self.timeout,
            });
        };
        match &self.spool {
            Some(spool) => {
                let sending = Sending { transport, retry };
                self.send_or_spool(sending, spool, messages, permit, left).await
            }
            None => {
                let _permit = permit;
                let sending = Sending { transport, retry };
                let failed = self.try_all(sending, messages, left).await;
                if failed.is_empty() {
                    return Ok(Receipt::Confirmed);
                }
                Err(NotifyError::Send(self.unsent(failed)))
            }
        }
    }

    /// To keep the order, sends through the spool while that is not empty. Otherwise sends directly, and
    /// spools the messages that were not confirmed in time and may be confirmed later.
    async fn send_or_spool(
        &self,
        sending: Sending<'_>,
        spool: &Spool,
        messages: Vec<OutgoingMessage>,
        permit: Permit,
        left: Duration,
    ) -> Result<Receipt, NotifyError> {
        let deadline = Instant::now() + left;
        let patience = spool.patience(left);
        // A send with a timeout of zero may send the message nevertheless.
        if !spool.is_empty() || patience.is_zero() {
            let spooled = spool.append(messages, permit, deadline).await;
            return spooled
                .map(|()| Receipt::Spooled)
                .map_err(|error| NotifyError::Spool { error, tried: None });
        }
        let failed = self.try_all(sending, messages, patience).await;
        if failed.is_empty() {
            return Ok(Receipt::Confirmed);
        }
        let later = failed.iter().filter(|failed| failed.error.is_transient());
        let later: Vec<OutgoingMessage> = later.map(|failed| failed.message.clone()).collect();
        if !later.is_empty()
            && let Err(error) = spool.append(later, permit, deadline).await
        {
            return Err(NotifyError::Spool { error, tried: Some(self.unsent(failed)) });
        }
        let refused: Vec<Failed> =
            failed.into_iter().filter(|failed| !failed.error.is_transient()).collect();
        if refused.is_empty() {
            return Ok(Receipt::Spooled);
        }
        Err(NotifyError::Send(self.unsent(refused)))
    }

    /// The messages that were not confirmed.
    async fn try_all(
        &self,
        Sending { transport, retry }: Sending<'_>,
        messages: Vec<OutgoingMessage>,
        timeout: Duration,
    ) -> Vec<Failed> {
        let send = |message: &OutgoingMessage| transport.send(message.outgoing(timeout, retry));
        let sends = messages.iter().map(send);
        let sent = join_all(sends).await;
        let topics = self.topics.iter().zip(messages).zip(sent);
        topics
            .filter_map(|((topic, message), sent)| {
                Some(Failed { topic: topic.topic_name().to_owned(), message, error: sent.err()? })
            })
            .collect()
    }

    fn unsent(&self, failed: Vec<Failed>) -> Unsent {
        Unsent {
            confirmed: self.topics.len() - failed.len(),
            topics: failed.into_iter().map(|failed| (failed.topic, failed.error)).collect(),
        }
    }

    pub(super) fn encode<P: Serialize + ?Sized>(
        &self,
        version: EnvelopeVersion,
        stamp: &Stamp,
        header: Header<'_>,
        context: &Context,
        payload: &P,
    ) -> Result<Vec<OutgoingMessage>, EncodeError> {
        let encode = |topic: &Target| {
            let message = Message {
                message_id: &stamp.message_id,
                publisher_id: header.publisher_id,
                event_type: header.event_type,
                priority: header.priority,
                payload,
                timestamp: &stamp.timestamp,
                unique_id: &Uuid::new_v4().simple().to_string(),
                context,
            };
            let body = envelope::encode(version, &message)?;
            Ok(self.message(topic, header.priority, body))
        };
        self.topics.iter().map(encode).collect()
    }

    fn message(&self, topic: &Target, priority: Priority, body: Vec<u8>) -> OutgoingMessage {
        OutgoingMessage {
            exchange: topic.exchange_name().unwrap_or(&self.control_exchange).to_owned(),
            routing_key: routing_key(topic.topic_name(), priority),
            compression: self
                .compression
                .map(|compression| Cow::Borrowed(compression.content_type())),
            body: Bytes::from(match self.compression {
                Some(compression) => compression.compress(&body),
                None => body,
            }),
        }
    }
}

/// How messages are sent.
#[derive(Clone, Copy)]
struct Sending<'s> {
    transport: &'s Transport,
    retry: Retry,
}

/// A message that was not confirmed.
struct Failed {
    topic: String,
    message: OutgoingMessage,
    error: SendError,
}

/// The time as Python's `str(datetime)` writes it: without a zone, and without a fraction
/// when there is none.
fn timestamp(now: OffsetDateTime) -> String {
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second, micros) = now.to_hms_micro();
    let month = u8::from(month);
    let whole = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if micros == 0 { whole } else { format!("{whole}.{micros:06}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_python_writes_it() {
        let at = |nanos: i128| {
            timestamp(OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("a time"))
        };
        assert_eq!(at(1_778_311_773_123_456_789), "2026-05-09 07:29:33.123456");
        assert_eq!(at(1_778_311_773_000_042_000), "2026-05-09 07:29:33.000042");
        assert_eq!(at(1_778_311_773_000_000_000), "2026-05-09 07:29:33");
    }
}
