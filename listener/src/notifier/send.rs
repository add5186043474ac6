//! From the arguments of a call to bodies, and from bodies to confirmations, one for each
//! topic. Reconnecting and confirming are the driver's.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::envelope::{self, Compression, EncodeError, Message, Version};
use crate::notification::context::Context;
use crate::notification::priority::Priority;
use crate::notifier::error::{NotifyError, Unsent};
use crate::serializer::Serializer;
use crate::target::{Target, routing_key};
use crate::transport::Transport;
use crate::transport::delivery::Properties;
use crate::transport::driver::{Outgoing, Route};

/// What the clones of a notifier share.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) topics: Vec<Target>,
    pub(super) control_exchange: String,
    pub(super) version: Version,
    pub(super) compression: Option<Compression>,
    pub(super) serializer: Option<Arc<dyn Serializer>>,
    pub(super) timeout: Duration,
}

/// What a call says of its notification beside context and payload.
#[derive(Clone, Copy)]
pub(super) struct Subject<'s> {
    pub(super) publisher_id: Option<&'s str>,
    pub(super) priority: Priority,
    pub(super) event_type: &'s str,
}

impl Settings {
    /// One message for each topic.
    pub(super) fn write<P: Serialize + ?Sized>(
        &self,
        subject: Subject<'_>,
        context: &Context,
        payload: &P,
    ) -> Result<Vec<Outgoing>, NotifyError> {
        let Some(serializer) = &self.serializer else {
            return Ok(self.encode(subject, context, payload)?);
        };
        // The payload is changed under the context as it was given, as oslo.messaging does.
        let payload = serde_json::to_value(payload).map_err(EncodeError::Payload)?;
        let payload =
            serializer.serialize_payload(context, payload).map_err(NotifyError::Serializer)?;
        let context =
            serializer.serialize_context(context.clone()).map_err(NotifyError::Serializer)?;
        Ok(self.encode(subject, &context, &payload)?)
    }

    /// Sends to all topics at once, and waits for each confirmation.
    pub(super) async fn send(
        &self,
        transport: &Transport,
        outgoing: Vec<Outgoing>,
    ) -> Result<(), NotifyError> {
        let sent = join_all(outgoing.into_iter().map(|outgoing| transport.send(outgoing))).await;
        let unsent: Vec<_> = self
            .topics
            .iter()
            .zip(sent)
            .filter_map(|(topic, sent)| Some((topic.name().to_owned(), sent.err()?)))
            .collect();
        if unsent.is_empty() { Ok(()) } else { Err(NotifyError::Send(Unsent(unsent))) }
    }

    fn encode<P: Serialize + ?Sized>(
        &self,
        subject: Subject<'_>,
        context: &Context,
        payload: &P,
    ) -> Result<Vec<Outgoing>, EncodeError> {
        let message_id = Uuid::new_v4().to_string();
        let timestamp = timestamp(OffsetDateTime::now_utc());
        let encode = |topic: &Target| {
            let message = Message {
                message_id: &message_id,
                publisher_id: subject.publisher_id,
                event_type: subject.event_type,
                priority: subject.priority,
                payload,
                timestamp: &timestamp,
                unique_id: &Uuid::new_v4().simple().to_string(),
                context,
            };
            let body = envelope::encode(self.version, &message)?;
            Ok(self.outgoing(topic, subject.priority, body))
        };
        self.topics.iter().map(encode).collect()
    }

    fn outgoing(&self, topic: &Target, priority: Priority, body: Vec<u8>) -> Outgoing {
        let mut properties = Properties {
            content_type: Some(Cow::Borrowed("application/json")),
            content_encoding: Some(Cow::Borrowed("utf-8")),
            ..Properties::default()
        };
        let body = match self.compression {
            None => body,
            Some(compression) => {
                properties.headers.set("compression", compression.content_type().into());
                compression.compress(&body)
            }
        };
        Outgoing {
            route: Route::Topic {
                exchange: topic.exchange_name().unwrap_or(&self.control_exchange).to_owned(),
                routing_key: routing_key(topic.name(), priority),
            },
            body: Bytes::from(body),
            properties,
            timeout: self.timeout,
        }
    }
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
