//! A raw AMQP client for tests: publishes any bytes with any properties, drains, consumes, declares and
//! deletes queues. It does not use the driver of the library: setup and checks must not depend on the
//! code under test.

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind,
};

/// A connection with one channel in confirm mode.
pub struct Amqp {
    url: String,
    connection: Connection,
    channel: Channel,
}

impl Amqp {
    /// Connects to the URL of a node or virtual host.
    pub async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { url: url.to_owned(), connection, channel }
    }

    /// The channel, for other methods.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns once the broker has confirmed; panics if the message reached no queue. The empty
    /// exchange sends to the queue named by `key`.
    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        body: impl AsRef<[u8]>,
        properties: BasicProperties,
    ) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let body = body.as_ref();
        let sent =
            self.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        let confirmation = sent.await.unwrap().await.unwrap();
        let routed = matches!(confirmation, Confirmation::Ack(None));
        assert!(routed, "the message to {exchange:?} {key:?} was returned: {confirmation:?}");
    }

    /// Takes all ready messages out of the queue, in order.
    pub async fn drain(&self, queue: &str) -> Vec<BasicGetMessage> {
        let mut messages = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self.channel.basic_get(queue.into(), options).await.unwrap() {
            messages.push(message);
        }
        messages
    }

    /// Consumes a queue exclusively. The consumer is cancelled when it is dropped.
    pub async fn consume_exclusively(&self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let arguments = FieldTable::default();
        self.channel.basic_consume(queue.into(), "".into(), options, arguments).await.unwrap()
    }

    pub async fn declare_queue(&self, queue: &str, durable: bool, arguments: &[(&str, AMQPValue)]) {
        let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
        if !arguments.iter().any(|(name, _)| *name == "x-queue-type") {
            self.channel.queue_declare(queue.into(), options, table(arguments)).await.unwrap();
            return;
        }
        // A busy broker may not form the cluster of a quorum queue in time, and then closes the
        // connection.
        let mut attempts = 5;
        loop {
            let one = Self::connect(&self.url).await;
            match one.channel.queue_declare(queue.into(), options, table(arguments)).await {
                Ok(_) => return one.close().await,
                Err(error) if attempts > 1 && is_internal(&error) => attempts -= 1,
                Err(error) => panic!("{queue:?} is not declared: {error}"),
            }
        }
    }

    /// A topic exchange, as oslo.messaging declares them.
    pub async fn declare_exchange(&self, exchange: &str, durable: bool) {
        let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
        let arguments = FieldTable::default();
        let declared =
            self.channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, arguments);
        declared.await.unwrap();
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = QueueBindOptions::default();
        let arguments = FieldTable::default();
        let bound =
            self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments);
        bound.await.unwrap();
    }

    pub async fn delete_queue(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    pub async fn close(self) {
        self.connection.close(200, "".into()).await.unwrap();
    }
}

/// The properties that oslo.messaging's notifier sends, and these headers.
pub fn oslo_properties(headers: &[(&str, AMQPValue)]) -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_headers(table(headers))
        .with_delivery_mode(2)
        .with_priority(0)
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

/// Whether the error is `541 INTERNAL_ERROR`.
fn is_internal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == 541)
}
