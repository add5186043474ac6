//! A message in AMQP's terms, what it needs, how it is published, and what may become of it.
//! Many at once are published by `confirms.rs`; what is tried again after which fate is `publish.rs`'s.

use bytes::Bytes;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};

use crate::drivers::rabbit::connection::link::{Link, call, close_channel};
use crate::drivers::rabbit::connection::refusal::Fault;
use crate::drivers::rabbit::topology::retry_queue::{self, Level};
use crate::drivers::rabbit::wire::{self, TooLong};
use crate::transport::driver::{Outgoing, Route};

/// What must be there before a message is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// An exchange, and a queue of the same name as the routing key.
    Topic { exchange: String, routing_key: String },
    /// A queue.
    Queue(String),
    /// A quarantine queue.
    Quarantine(String),
    /// A journal.
    Journal(String),
    /// A queue, and the one that holds messages back for it.
    Retry(String, Level),
}

impl Need {
    /// None for a delay that cannot be had.
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
    /// The message for a route; `need` is the route's.
    pub(crate) fn new(outgoing: &Outgoing, need: &Need) -> Result<Self, TooLong> {
        let mut properties = wire::to_amqp(&outgoing.properties)?;
        let (exchange, routing_key) = match need {
            Need::Topic { exchange, routing_key } => (exchange.as_str(), routing_key.clone()),
            Need::Queue(queue) | Need::Quarantine(queue) | Need::Journal(queue) => {
                ("", queue.clone())
            }
            Need::Retry(queue, level) => ("", level.queue(queue)),
        };
        if let Route::Delayed { delay, .. } = outgoing.route {
            // One that says it was moved before could be taken for one that goes round in circles,
            // which the broker drops.
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

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The broker has it, and a queue too.
    Confirmed,
    /// The broker could not keep it.
    Refused,
    /// No queue wanted it.
    Returned(String),
    /// The channel was closed by this message or by another one on it.
    Spoiled(Fault),
    /// The connection was lost: it may have arrived.
    Lost(Fault),
}

/// Publishes one message on a channel of its own, where it can hurt no other.
pub(crate) async fn submit_alone(link: &Link, message: Message) -> Fate {
    let channel = match confirming(link).await {
        Ok(channel) => channel,
        Err(fault) => return Fate::Lost(fault),
    };
    let result = publish(channel.clone(), message, true).await;
    // A scratch channel: that it closes is all there is to say of it.
    let _ = close_channel(&channel).await;
    match result {
        Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
            Fate::Returned(said(&returned))
        }
        Ok(Confirmation::Ack(None) | Confirmation::NotRequested) => Fate::Confirmed,
        Ok(Confirmation::Nack(None)) => Fate::Refused,
        Err(error) => failed(Fault::from(&error)),
    }
}

/// Whether the user may publish to the default exchange. Asked with a message for a queue of this
/// name, which must not exist: the broker drops it.
pub(crate) async fn may_publish(link: &Link, missing: ShortString) -> Result<bool, Fault> {
    let channel = confirming(link).await?;
    let message = Message {
        exchange: "".into(),
        routing_key: missing,
        properties: BasicProperties::default(),
        body: Bytes::new(),
    };
    match publish(channel, message, false).await {
        Ok(_) => Ok(true),
        Err(error) => match Fault::from(&error) {
            fault if fault.code() == Some(403) => Ok(false),
            fault => Err(fault),
        },
    }
}

/// A channel that confirms what is published on it.
pub(crate) async fn confirming(link: &Link) -> Result<Channel, Fault> {
    let channel = link.channel().await?;
    call(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// Publishes, and waits for the confirmation. What has been polled once is on its way.
async fn publish(
    channel: Channel,
    message: Message,
    mandatory: bool,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    let confirm = channel
        .basic_publish(
            message.exchange,
            message.routing_key,
            options,
            &message.body,
            message.properties,
        )
        .await?;
    confirm.await
}

/// What a fault does to a message on the channel that it closed.
pub(crate) fn failed(fault: Fault) -> Fate {
    if fault.is_of_a_channel() { Fate::Spoiled(fault) } else { Fate::Lost(fault) }
}

/// Why a message came back.
pub(crate) fn said(returned: &BasicReturnMessage) -> String {
    format!("{} {}", returned.reply_code, returned.reply_text)
}
