//! A message in AMQP's terms, the queues and exchanges that it requires, and what may become of it.
//! `confirms.rs` publishes messages, `publish.rs` publishes them again.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::BasicReturnMessage;
use lapin::types::ShortString;

use crate::drivers::rabbit::connection::failure::Fault;
use crate::drivers::rabbit::topology::retry_queue::{self, Level};
use crate::drivers::rabbit::wire::{self, TooLong};
use crate::transport::driver::{Outgoing, Route};

/// What must exist before a message is published.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    /// An exchange, and a queue named as the routing key.
    Topic { exchange: String, routing_key: String },
    /// A queue.
    Queue(String),
    /// A quarantine queue.
    Quarantine(String),
    /// A journal.
    Journal(String),
    /// A queue, and its retry queue for this level.
    Retry(String, Level),
}

impl Destination {
    /// None if the delay is too long.
    pub(crate) fn of(route: &Route) -> Option<Self> {
        Some(match route.clone() {
            Route::Topic { exchange, routing_key } => Self::Topic { exchange, routing_key },
            Route::Queue(queue) => Self::Queue(queue),
            Route::Quarantine(queue) => Self::Quarantine(queue),
            Route::Delayed { queue, delay } => Self::Retry(queue, Level::of(delay)?),
        })
    }
}

/// A message in AMQP's terms.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
}

impl Message {
    /// The message for the destination of its route.
    pub(crate) fn new(outgoing: &Outgoing, destination: &Destination) -> Result<Self, TooLong> {
        let mut properties = wire::to_amqp(&outgoing.properties)?;
        let (exchange, routing_key) = match destination {
            Destination::Topic { exchange, routing_key } => {
                (exchange.as_str(), routing_key.clone())
            }
            Destination::Queue(queue)
            | Destination::Quarantine(queue)
            | Destination::Journal(queue) => ("", queue.clone()),
            Destination::Retry(queue, level) => ("", level.queue(queue)),
        };
        if let Route::Delayed { delay, .. } = outgoing.route {
            // RabbitMQ drops messages that seem to be dead-lettered in a cycle, as a copy with the
            // headers of an earlier dead-lettering might.
            let mut headers = outgoing.properties.headers.clone();
            headers.remove_broker_owned();
            properties = properties
                .with_headers(wire::headers_to(&headers)?)
                .with_expiration(retry_queue::expiration(delay).into());
        }
        Ok(Self {
            exchange: wire::short("the exchange's name", exchange)?,
            routing_key: wire::short("the routing key", &routing_key)?,
            properties,
            body: outgoing.body.clone(),
        })
    }
}

/// What became of a published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublishResult {
    /// The broker has acknowledged it: it is in a queue.
    Confirmed,
    /// The broker has sent `basic.nack`.
    Nacked,
    /// It was not routed to any queue.
    Returned(String),
    /// This message, or another one on the channel, has closed the channel.
    ChannelClosed(Fault),
    /// The connection was lost: the message may have arrived.
    ConnectionLost(Fault),
}

impl PublishResult {
    /// The result of a message on a channel that this fault has closed.
    pub(crate) fn failed(fault: Fault) -> Self {
        if fault.closes_channel_only() {
            Self::ChannelClosed(fault)
        } else {
            Self::ConnectionLost(fault)
        }
    }
}

/// Why a message was returned.
pub(crate) fn return_reason(returned: &BasicReturnMessage) -> String {
    format!("{} {}", returned.reply_code, returned.reply_text)
}
