//! Exchanges, queues and bindings: what exists is used as it is, what is missing is declared,
//! and what differs from what was asked for is explained. Nothing is ever deleted. Called for
//! each new session, before `consume.rs` and `publish.rs` use what is here.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};
use tokio::time::sleep;

use super::Core;
use super::delay::Level;
use super::failure::{self, Failure, Fault};
use super::known::{Kind, Known};
use super::limit;
use super::link::{Link, call};
use super::options::RabbitOptions;
use super::single::{Probe, Single};
use super::wire;
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// Said of an exchange that was missing, for the notifiers of oslo.messaging that come later.
const DECLARED: &str = "declared the exchange; oslo.messaging with other amqp_durable_queues \
                        cannot use it: add amqp_durable_queues to the transport URL to match";

/// Whether a queue was there before us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Existed,
    Declared,
}

/// Declares over channels of its own: a refusal closes the channel that it came on, and must
/// not take consumers or messages along.
pub(super) struct Topology<'a> {
    link: &'a Link,
    options: &'a RabbitOptions,
    known: &'a Known,
    expires: Option<Duration>,
    scratch: Option<Channel>,
}

impl<'a> Topology<'a> {
    pub(super) fn new(link: &'a Link, core: &'a Core) -> Self {
        Self { link, options: &core.options, known: &core.known, expires: None, scratch: None }
    }

    /// Queues that it declares go away when they have been without a consumer for so long.
    pub(super) fn expiring(self, expires: Option<Duration>) -> Self {
        Self { expires, ..self }
    }

    /// All that a listener consumes.
    pub(super) async fn subscription(&mut self, bindings: &[Binding]) -> Result<(), Failure> {
        let mut queues = HashMap::new();
        let mut exchanges = HashMap::new();
        let mut bound = HashSet::new();
        for binding in bindings.iter().filter(|binding| bound.insert(*binding)) {
            let found = match queues.get(&binding.queue) {
                Some(found) => *found,
                None => {
                    let found = self.queue(&binding.queue).await?;
                    self.check_limit(&binding.queue, found).await?;
                    found
                }
            };
            queues.insert(&binding.queue, found);
            if !exchanges.contains_key(&binding.exchange) {
                let declared = self.exchange(&binding.exchange).await;
                exchanges.insert(&binding.exchange, declared);
            }
            let tied = match exchanges[&binding.exchange].clone() {
                Ok(()) => self.bind(binding).await,
                Err(failure) => Err(failure),
            };
            match tied {
                Err(Failure::Mistake(error @ ConnectError::Forbidden { .. }))
                    if found == Found::Existed =>
                {
                    tracing::warn!(
                        queue = binding.queue,
                        exchange = binding.exchange,
                        routing_key = binding.routing_key,
                        %error,
                        "the queue is used as it is bound already"
                    );
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// What a message to a topic needs: the exchange, and the queue of the same name as the
    /// routing key. Where this may not be declared or bound, the exchange may still lead to
    /// another: the refusal is given back, for the case that it does not.
    pub(super) async fn topic(
        &mut self,
        exchange: &str,
        routing_key: &str,
    ) -> Result<Option<ConnectError>, Failure> {
        self.exchange(exchange).await?;
        let binding = Binding {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            queue: routing_key.to_owned(),
        };
        let ready = match self.queue(routing_key).await {
            Ok(_) => self.bind(&binding).await,
            Err(failure) => Err(failure),
        };
        match ready {
            Ok(()) => Ok(None),
            Err(Failure::Mistake(error @ ConnectError::Forbidden { .. })) => Ok(Some(error)),
            Err(failure) => Err(failure),
        }
    }

    /// A queue that messages are put straight into. It keeps what may not be lost, so it is
    /// durable whatever the options say.
    pub(super) async fn straight(&mut self, queue: &str) -> Result<(), Failure> {
        let name = short("the queue's name", queue)?;
        match self.look_for_queue(&name).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.code() == Some(404) => {
                let options =
                    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                self.declare_queue(&name, options)
                    .await
                    .or_else(|fault| unless_there(fault, queue, &self.link.user))
            }
            Err(fault) => Err(self.refused(fault, "look for", "queue", queue)),
        }
    }

    /// A queue that messages are put straight into, and the one that holds them back for it.
    pub(super) async fn delayed(&mut self, queue: &str, level: Level) -> Result<(), Failure> {
        self.straight(queue).await?;
        let retry = level.queue(queue);
        let name = short("the retry queue's name", &retry)?;
        let mut last = match self.look_for_queue(&name).await {
            Err(fault) if fault.code() == Some(404) => fault,
            found => {
                return found.map_err(|fault| self.refused(fault, "look for", "queue", &retry));
            }
        };
        for holding in self.known.holdings(self.link.version) {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let arguments = holding.arguments(queue, level);
            match self.declare_queue_with(&name, options, arguments).await {
                Ok(()) => {
                    tracing::info!(queue = retry, ?holding, "declared the queue that holds back");
                    sleep(holding.settling()).await;
                    return Ok(());
                }
                Err(fault) if is_about_differences(&fault) => return Ok(()),
                Err(fault) => {
                    self.known.refuse(holding, &fault);
                    last = fault;
                    // Another type changes nothing where nothing may be declared, or nobody
                    // answers.
                    if matches!(last.code(), None | Some(403)) {
                        break;
                    }
                }
            }
        }
        Err(self.refused(last, "declare", "queue", &retry))
    }

    /// Refuses a quorum queue that would drop a message too soon. Whoever may not declare cannot
    /// ask, and is let through.
    async fn check_limit(&mut self, queue: &str, found: Found) -> Result<(), Failure> {
        let asked = self.options.rabbit_quorum_delivery_limit;
        let limit = match found {
            Found::Declared if self.options.quorum() && asked > 0 => Some(u64::from(asked)),
            Found::Declared => None,
            Found::Existed => match self.known.limit(queue) {
                Some(known) => known,
                None => {
                    let limit = self.ask_limit(queue).await?;
                    self.known.learn_limit(queue, limit);
                    limit
                }
            },
        };
        let allowed = self.options.allow_low_delivery_limit;
        limit.map_or(Ok(()), |limit| limit::check(queue, limit, allowed))
    }

    async fn ask_limit(&mut self, queue: &str) -> Result<Option<u64>, Failure> {
        let name = short("the queue's name", queue)?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await?;
        match call(channel.queue_declare(name, options, limit::probe())).await {
            Err(fault) if fault.code() == Some(406) => Ok(limit::named(&fault)),
            Ok(_) => Ok(None),
            Err(fault) if fault.code() == Some(403) => Ok(None),
            Err(fault) => Err(self.refused(fault, "look for", "queue", queue)),
        }
    }

    /// Whether a queue goes to one consumer at a time, which nothing but a refusal shows. Whoever
    /// may not declare cannot ask. Asked in each session: a queue may be another by then.
    pub(super) async fn single(&mut self, queue: &str) -> Result<Single, Failure> {
        let name = short("the queue's name", queue)?;
        let options = QueueDeclareOptions {
            durable: self.durable(Kind::Queue, queue),
            auto_delete: self.options.auto_delete(),
            ..QueueDeclareOptions::default()
        };
        let mut probe = Probe::new(options, &arguments(self.options, self.expires));
        loop {
            let asked = self.declare_queue_with(&name, probe.options, probe.arguments()).await;
            let Err(fault) = asked else { return Ok(Single::Unknown) };
            match probe.refused(&fault) {
                Ok(Some(single)) => return Ok(single),
                Ok(None) => {}
                Err(()) if fault.code().is_none() => {
                    return Err(self.refused(fault, "look for", "queue", queue));
                }
                Err(()) => return Ok(Single::Unknown),
            }
        }
    }

    /// Whether a queue is there. One that may not be looked at counts as missing.
    pub(super) async fn exists(&mut self, queue: &str) -> Result<bool, Failure> {
        let name = short("the queue's name", queue)?;
        match self.look_for_queue(&name).await {
            Ok(()) => Ok(true),
            Err(fault) if matches!(fault.code(), Some(403 | 404)) => Ok(false),
            Err(fault) => Err(self.refused(fault, "look for", "queue", queue)),
        }
    }

    async fn queue(&mut self, queue: &str) -> Result<Found, Failure> {
        let name = short("the queue's name", queue)?;
        let options = QueueDeclareOptions {
            durable: self.durable(Kind::Queue, queue),
            auto_delete: self.options.auto_delete(),
            ..QueueDeclareOptions::default()
        };
        match self.look_for_queue(&name).await {
            Ok(()) if self.options.ask_for_queues() => {
                match self.declare_queue(&name, options).await {
                    Ok(()) => Ok(Found::Existed),
                    Err(fault) if fault.code() == Some(403) || is_about_expiry(&fault) => {
                        Ok(Found::Existed)
                    }
                    Err(fault) => Err(mismatch(&fault, queue)
                        .unwrap_or_else(|| self.refused(fault, "declare", "queue", queue))),
                }
            }
            Ok(()) => {
                if self.known.durable(Kind::Queue, queue).is_none() {
                    let durable = QueueDeclareOptions { durable: true, ..options };
                    let probed = self.declare_queue(&name, durable).await;
                    self.learn(Kind::Queue, queue, probed);
                }
                Ok(Found::Existed)
            }
            Err(fault) if fault.code() == Some(404) => {
                match self.declare_queue(&name, options).await {
                    Ok(()) => {
                        tracing::info!(queue, "declared the queue");
                        Ok(Found::Declared)
                    }
                    // Somebody else declared it in between: it is used as it is.
                    Err(fault) if fault.code() == Some(406) && !self.options.ask_for_queues() => {
                        Ok(Found::Existed)
                    }
                    Err(fault) => Err(mismatch(&fault, queue)
                        .unwrap_or_else(|| self.refused(fault, "declare", "queue", queue))),
                }
            }
            // Not even looking is allowed; consuming may be.
            Err(fault) if fault.code() == Some(403) => Ok(Found::Existed),
            Err(fault) => Err(self.refused(fault, "look for", "queue", queue)),
        }
    }

    async fn exchange(&mut self, exchange: &str) -> Result<(), Failure> {
        if exchange.is_empty() || exchange.starts_with("amq.") {
            return Ok(());
        }
        let name = short("the exchange's name", exchange)?;
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let active = ExchangeDeclareOptions {
            durable: self.durable(Kind::Exchange, exchange),
            auto_delete: self.options.auto_delete(),
            ..ExchangeDeclareOptions::default()
        };
        match self.declare_exchange(&name, passive).await {
            Ok(()) => {
                if self.known.durable(Kind::Exchange, exchange).is_none() {
                    let durable = ExchangeDeclareOptions { durable: true, ..active };
                    let probed = self.declare_exchange(&name, durable).await;
                    self.learn(Kind::Exchange, exchange, probed);
                }
                Ok(())
            }
            Err(fault) if fault.code() == Some(404) => {
                match self.declare_exchange(&name, active).await {
                    Ok(()) => {
                        tracing::info!(exchange, durable = active.durable, "{DECLARED}");
                        Ok(())
                    }
                    // Somebody else declared it in between: it is used as it is.
                    Err(fault) if fault.code() == Some(406) => Ok(()),
                    Err(fault) => Err(self.refused(fault, "declare", "exchange", exchange)),
                }
            }
            Err(fault) if fault.code() == Some(403) => Ok(()),
            Err(fault) => Err(self.refused(fault, "look for", "exchange", exchange)),
        }
    }

    /// As it was when it was first met; else as the options say.
    fn durable(&self, kind: Kind, name: &str) -> bool {
        let met = self.known.durable(kind, name).filter(|_| !self.options.ask_for_queues());
        met.unwrap_or_else(|| self.options.durable())
    }

    /// Takes the answer to a declaration as durable of something that exists. Only "durable"
    /// in a refusal tells that it is not; whoever may not declare never declares it again.
    fn learn(&self, kind: Kind, name: &str, probed: Result<(), Fault>) {
        let transient = |fault: &Fault| matches!(fault, Fault::Broker { code: 406, text } if text.contains("arg 'durable'"));
        self.known.learn(kind, name, !probed.is_err_and(|fault| transient(&fault)));
    }

    async fn bind(&mut self, binding: &Binding) -> Result<(), Failure> {
        // The nameless exchange leads to every queue by itself.
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
                let action =
                    format!("bind queue {:?} to exchange {:?}", binding.queue, binding.exchange);
                failure::doing(fault, &action, &self.link.user)
            })
    }

    async fn look_for_queue(&mut self, name: &ShortString) -> Result<(), Fault> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await?;
        call(channel.queue_declare(name.clone(), options, FieldTable::default())).await.map(drop)
    }

    async fn declare_queue(
        &mut self,
        name: &ShortString,
        options: QueueDeclareOptions,
    ) -> Result<(), Fault> {
        self.declare_queue_with(name, options, arguments(self.options, self.expires)).await
    }

    async fn declare_queue_with(
        &mut self,
        name: &ShortString,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        let channel = self.channel().await?;
        call(channel.queue_declare(name.clone(), options, arguments)).await.map(drop)
    }

    async fn declare_exchange(
        &mut self,
        name: &ShortString,
        options: ExchangeDeclareOptions,
    ) -> Result<(), Fault> {
        let channel = self.channel().await?;
        call(channel.exchange_declare(
            name.clone(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        ))
        .await
    }

    /// The scratch channel, a new one if the last was closed by a refusal.
    async fn channel(&mut self) -> Result<Channel, Fault> {
        if let Some(channel) = &self.scratch
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = self.link.channel().await?;
        Ok(self.scratch.insert(channel).clone())
    }

    fn refused(&self, fault: Fault, verb: &str, what: &str, name: &str) -> Failure {
        failure::doing(fault, &format!("{verb} {what} {name:?}"), &self.link.user)
    }
}

fn unless_there(fault: Fault, queue: &str, user: &str) -> Result<(), Failure> {
    // Somebody else declared it in between: it is used as it is.
    if fault.code() == Some(406) {
        return Ok(());
    }
    let action = format!("declare queue {queue:?}");
    Err(failure::doing(fault, &action, user))
}

/// Somebody else declared it in between: it is used as it is.
fn is_about_differences(fault: &Fault) -> bool {
    matches!(fault, Fault::Broker { code: 406, text } if failure::difference(text).is_some())
}

/// How soon a queue goes away is asked of new ones only.
fn is_about_expiry(fault: &Fault) -> bool {
    matches!(fault, Fault::Broker { code: 406, text } if text.contains("arg 'x-expires'"))
}

fn mismatch(fault: &Fault, queue: &str) -> Option<Failure> {
    let Fault::Broker { code: 406, text } = fault else {
        return None;
    };
    Some(Failure::Mistake(ConnectError::Mismatch {
        what: format!("queue {queue:?}"),
        difference: failure::difference(text)?,
    }))
}

fn short(what: &str, name: &str) -> Result<ShortString, Failure> {
    wire::short(what, name).map_err(|error| {
        Failure::Mistake(ConnectError::Refused {
            action: format!("use {what}"),
            reason: error.to_string(),
        })
    })
}

/// The arguments of a queue, those that oslo.messaging declares with.
fn arguments(options: &RabbitOptions, expires: Option<Duration>) -> FieldTable {
    let mut table = FieldTable::default();
    if let Some(expires) = expires {
        // At least a millisecond: RabbitMQ takes no 0.
        let millis = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX).max(1);
        table.insert("x-expires".into(), AMQPValue::LongLongInt(millis));
    }
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    if options.rabbit_ha_queues == Some(true) {
        table.insert("x-ha-policy".into(), text("all"));
    }
    if options.quorum() {
        table.insert("x-queue-type".into(), text("quorum"));
        let limits = [
            ("x-delivery-limit", options.rabbit_quorum_delivery_limit),
            ("x-max-in-memory-length", options.rabbit_quorum_max_memory_length),
            ("x-max-in-memory-bytes", options.rabbit_quorum_max_memory_bytes),
        ];
        for (name, limit) in limits.into_iter().filter(|(_, limit)| *limit > 0) {
            table.insert(name.into(), AMQPValue::LongLongInt(limit.into()));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_that_the_options_ask_for() {
        let names = |options: &RabbitOptions, expires| -> Vec<String> {
            let table = arguments(options, expires);
            let pair = |(name, value): (&ShortString, &AMQPValue)| format!("{name}={value:?}");
            table.into_iter().map(pair).collect()
        };
        assert_eq!(names(&RabbitOptions::default(), None), [""; 0]);
        assert_eq!(
            names(&RabbitOptions::default(), Some(Duration::from_secs(2))),
            ["x-expires=LongLongInt(2000)"]
        );
        let quorum = RabbitOptions {
            rabbit_quorum_queue: Some(true),
            rabbit_quorum_delivery_limit: 7,
            ..RabbitOptions::default()
        };
        let found = names(&quorum, None);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "x-delivery-limit=LongLongInt(7)");
        assert!(found[1].starts_with("x-queue-type=LongString"), "{found:?}");
    }
}
