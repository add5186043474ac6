//! Single requests about queues, exchanges and bindings, over a scratch channel: a refusal closes the
//! channel on which it arrives, and must not close that of consumers or publishers. In which order they
//! are made is decided in the other files here.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use tokio::time::Instant;

use super::broker_state::BrokerState;
use super::properties::{Lifetime, QueueProperties};
use crate::drivers::rabbit::connection::channel::call;
use crate::drivers::rabbit::connection::failure::{Failure, Fault, Operation, operation_failed};
use crate::drivers::rabbit::connection::link::Link;
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::options::RabbitOptions;
use crate::drivers::rabbit::wire::{self, NAME_LIMIT};
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// How long RabbitMQ waits for the leader of a quorum queue when it counts ready messages.
const LEADER_TIMEOUT: Duration = Duration::from_millis(250);

/// A connection with a scratch channel, and what decides about declarations over it.
pub(crate) struct TopologyChannel<'a> {
    pub(super) link: &'a Link,
    pub(super) options: &'a RabbitOptions,
    pub(super) broker: &'a BrokerState,
    pub(super) expires: Option<Duration>,
    scratch: Option<Channel>,
}

impl<'a> TopologyChannel<'a> {
    pub(crate) fn new(link: &'a Link, core: &'a Core) -> Self {
        Self { link, options: &core.options, broker: &core.broker, expires: None, scratch: None }
    }

    /// Queues that it declares are deleted after this time without consumers.
    pub(crate) fn expiring(self, expires: Option<Duration>) -> Self {
        Self { expires, ..self }
    }

    /// Whether this user may have declared an existing queue: the broker shows its properties only to
    /// users who may.
    pub(super) fn may_have_declared(&self, queue: &str) -> bool {
        self.broker.queue(queue).and_then(QueueProperties::durable).is_some()
    }

    /// Whether a queue exists. If the user may not inspect it, it counts as missing.
    pub(crate) async fn exists(&mut self, queue: &str) -> Result<bool, Failure> {
        let name = short("the queue's name", queue)?;
        match self.message_count(&name).await {
            Ok(_) => Ok(true),
            Err(fault) if matches!(fault.code(), Some(403 | 404)) => Ok(false),
            Err(fault) => Err(self.refused(fault, Operation::look_for("queue", queue))),
        }
    }

    pub(super) async fn bind(&mut self, binding: &Binding) -> Result<(), Failure> {
        // The default exchange has implicit bindings to all queues.
        if binding.exchange.is_empty() {
            return Ok(());
        }
        let queue = short("the queue's name", &binding.queue)?;
        let exchange = short("the exchange's name", &binding.exchange)?;
        let key = short("the routing key", &binding.routing_key)?;
        let options = QueueBindOptions::default();
        let channel = self.channel().await?;
        call(channel.queue_bind(queue, exchange, key, options, FieldTable::default()))
            .await
            .map_err(|fault| {
                let bind = Operation::bind(&binding.queue, &binding.exchange);
                self.refused(fault, bind)
            })
    }

    /// The number of ready messages of an existing queue.
    pub(crate) async fn message_count(&mut self, name: &ShortString) -> Result<u32, Fault> {
        Ok(self.declare_passively(name).await?.message_count())
    }

    /// The number of ready messages. `None` if a quorum queue is too busy to answer: the broker waits
    /// for its leader for 250 ms, and then reports 0 (`rabbit_quorum_queue:stat/1`).
    pub(crate) async fn ready_messages(&mut self, queue: &str) -> Result<Option<u32>, Failure> {
        let name = short("the queue's name", queue)?;
        self.channel().await?;
        let asked = Instant::now();
        let ready = self.message_count(&name).await;
        let ready =
            ready.map_err(|fault| self.refused(fault, Operation::look_for("queue", queue)))?;
        Ok((asked.elapsed() < LEADER_TIMEOUT).then_some(ready))
    }

    /// Declares a queue passively.
    pub(super) async fn declare_passively(
        &mut self,
        name: &ShortString,
    ) -> Result<lapin::Queue, Fault> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await?;
        call(channel.queue_declare(name.clone(), options, FieldTable::default())).await
    }

    /// Declares a missing queue. It counts as new from the request on, because the answer may never be
    /// read, and again from the answer on.
    pub(super) async fn declare_new_queue(
        &mut self,
        name: &ShortString,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        self.broker.record_declaration(name.as_str());
        self.declare_queue(name, options, arguments).await?;
        self.broker.record_declaration(name.as_str());
        Ok(())
    }

    pub(crate) async fn declare_queue(
        &mut self,
        name: &ShortString,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        let channel = self.channel().await?;
        call(channel.queue_declare(name.clone(), options, arguments)).await.map(drop)
    }

    pub(crate) async fn declare_exchange(
        &mut self,
        name: &ShortString,
        options: ExchangeDeclareOptions,
    ) -> Result<(), Fault> {
        self.declare_exchange_of(ExchangeKind::Topic, name, options, FieldTable::default()).await
    }

    pub(crate) async fn declare_exchange_of(
        &mut self,
        kind: ExchangeKind,
        name: &ShortString,
        options: ExchangeDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        let channel = self.channel().await?;
        call(channel.exchange_declare(name.clone(), kind, options, arguments)).await
    }

    /// The scratch channel; a new one if a refusal has closed the last.
    pub(super) async fn channel(&mut self) -> Result<Channel, Fault> {
        if let Some(channel) = &self.scratch
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = self.link.channel().await?;
        Ok(self.scratch.insert(channel).clone())
    }

    /// Closes the scratch channel, with a consumer on it.
    pub(super) fn discard(&mut self) {
        self.scratch = None;
    }

    /// The failure of a request that was refused.
    pub(crate) fn refused(&self, fault: Fault, operation: Operation) -> Failure {
        operation_failed(fault, operation, &self.link.user)
    }
}

/// A name in AMQP's terms. `what`: such as `the queue's name`, for the error.
pub(crate) fn short(what: &str, name: &str) -> Result<ShortString, Failure> {
    wire::short(what, name).map_err(|_| {
        let (what, length) = (what.to_owned(), name.len());
        Failure::Permanent(ConnectError::NameTooLong { what, length, limit: NAME_LIMIT })
    })
}

pub(super) fn exchange_options(lifetime: Lifetime) -> ExchangeDeclareOptions {
    let Lifetime { durable, auto_delete } = lifetime;
    ExchangeDeclareOptions { durable, auto_delete, ..ExchangeDeclareOptions::default() }
}
