//! The message of a notification to one topic, with everything that is needed to send it now, or later
//! from the spool. `send.rs` creates it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::notifier::retry::Retry;
use crate::transport::delivery::Properties;
use crate::transport::driver::{Outgoing, Route};

/// A message to one topic.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct OutgoingMessage {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    /// The content type of the compression, if the body is compressed.
    pub(super) compression: Option<Cow<'static, str>>,
    pub(super) body: Bytes,
}

impl OutgoingMessage {
    pub(super) fn route(&self) -> Route {
        Route::Topic { exchange: self.exchange.clone(), routing_key: self.routing_key.clone() }
    }

    pub(super) fn outgoing(&self, timeout: Duration, retry: Retry) -> Outgoing {
        let mut properties = Properties {
            content_type: Some(Cow::Borrowed("application/json")),
            content_encoding: Some(Cow::Borrowed("utf-8")),
            // As oslo.messaging sends it.
            priority: Some(0),
            ..Properties::default()
        };
        if let Some(compression) = &self.compression {
            properties.headers.insert("compression", compression.as_ref().into());
        }
        Outgoing::new(self.route(), self.body.clone(), timeout)
            .properties(properties)
            .retries(retry.limit())
    }
}
