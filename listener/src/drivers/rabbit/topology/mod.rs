//! Exchanges, queues and bindings: what exists is used as it is, what is missing is declared,
//! and what differs from what was asked for is explained. Nothing is ever deleted. Called for
//! each new session, before `consume.rs` and `publish.rs` use what is here.

pub(super) mod delivery_limit;
pub(super) mod deployment;
pub(super) mod known;
pub(super) mod retry_queue;
pub(super) mod rights;
mod side_queue;
pub(super) mod single_active;
mod survey;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};
use tokio::time::{Instant, sleep};

use self::deployment::{Lifetime, Seen, Style};
use self::known::Known;
use self::retry_queue::Level;
use self::side_queue::SideQueue;
use self::single_active::{Probe, Single};
use self::survey::{Exchange, Found, Survey, missing_exchange};
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::connection::link::{Link, call};
use crate::drivers::rabbit::connection::refusal::{self, Failure, Fault};
use crate::drivers::rabbit::options::RabbitOptions;
use crate::drivers::rabbit::wire::{self, NAME_LIMIT};
use crate::target::{dead_letter_queue, quarantine_queue};
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// How long RabbitMQ waits for the leader of a quorum queue that is asked how many messages are ready.
const LEADER_TIMEOUT: Duration = Duration::from_millis(250);

/// Said once, of queues that do not survive a restart of the broker.
const TRANSIENT: &str = "transient queues, oslo.messaging's default: what is in them is lost when RabbitMQ \
                         restarts; set amqp_durable_queues=true (or rabbit_quorum_queue=true) for \
                         all services of the deployment and in the transport URL, and delete them \
                         and their exchanges once so that they are declared again";

/// Declares over channels of its own: a refusal closes the channel that it came on, and must
/// not take consumers or messages along.
pub(crate) struct Topology<'a> {
    pub(crate) link: &'a Link,
    pub(crate) options: &'a RabbitOptions,
    pub(crate) known: &'a Known,
    pub(crate) expires: Option<Duration>,
    scratch: Option<Channel>,
}

impl<'a> Topology<'a> {
    pub(crate) fn new(link: &'a Link, core: &'a Core) -> Self {
        Self { link, options: &core.options, known: &core.known, expires: None, scratch: None }
    }

    /// Queues that it declares go away when they have been without a consumer for so long.
    pub(crate) fn expiring(self, expires: Option<Duration>) -> Self {
        Self { expires, ..self }
    }

    /// All that a listener consumes.
    pub(crate) async fn subscription(&mut self, bindings: &[Binding]) -> Result<(), Failure> {
        let mut seen = HashSet::new();
        let bindings: Vec<_> = bindings.iter().filter(|binding| seen.insert(*binding)).collect();
        self.known.consumes(bindings.iter().map(|binding| &binding.queue));
        let mut survey = self.survey(&bindings).await?;
        // Another broker might look for the queue first.
        if self.link.version.is_some() {
            self.check_bindings(&bindings, &survey).await?;
        }
        let styles = self.styles(&bindings, &survey).await?;
        self.check_topics(&bindings, &styles, &mut survey).await?;
        // The queues first: one that is refused leaves no exchange behind.
        for (queue, style) in &styles {
            self.declare_missing_queue(queue, *style).await?;
        }
        for binding in &bindings {
            self.settle_quorum(&binding.queue).await?;
        }
        let mut missing = None;
        for binding in &bindings {
            let found = survey.queue(&binding.queue);
            // Of whoever consumes: a publisher loses nothing by it.
            self.check_queue(&binding.queue)?;
            let exchange = self.exchange(&binding.exchange, &mut survey).await;
            let is_missing = exchange.as_ref().is_err_and(is_forbidden);
            // Somebody else has declared and bound a queue that this user may not declare.
            let is_given = found == Found::Existing && !self.may_have_declared(&binding.queue);
            let bound = match exchange {
                Ok(()) => self.bind(binding).await,
                Err(failure) if is_missing && !is_given => {
                    // The others collect meanwhile.
                    missing.get_or_insert_with(|| missing_exchange(failure, &binding.exchange));
                    continue;
                }
                failed => failed,
            };
            match bound {
                Err(Failure::Mistake(error @ ConnectError::Forbidden { .. }))
                    if found == Found::Existing =>
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
        if let Some(failure) = missing {
            return Err(failure);
        }
        self.warn_of_transient(bindings.iter().map(|binding| binding.queue.as_str()));
        Ok(())
    }

    /// Whether this user may have declared a queue that exists: the broker shows its properties only to
    /// those who may.
    fn may_have_declared(&self, queue: &str) -> bool {
        self.known.queue(queue).and_then(Seen::durable).is_some()
    }

    /// Refuses queues that are missing and may not be bound, before they are declared: at the next
    /// start they would exist, and be taken for bound ones. RabbitMQ looks at permissions before it
    /// looks for the queue.
    async fn check_bindings(
        &mut self,
        bindings: &[&Binding],
        survey: &Survey,
    ) -> Result<(), Failure> {
        let is_missing = |queue: &str| survey.queue(queue) == Found::Missing;
        for binding in bindings.iter().filter(|binding| is_missing(&binding.queue)) {
            // As a rule it fails, for the queue is missing.
            let Err(failure) = self.bind(binding).await else { continue };
            if is_forbidden(&failure) && self.may_declare(&binding.queue, false).await? {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Refuses queues as `check_bindings` does, for topic permissions: RabbitMQ looks at those once the
    /// exchange is there. So that is declared first, if the queue will not be refused; a transient one
    /// may be.
    async fn check_topics(
        &mut self,
        bindings: &[&Binding],
        styles: &BTreeMap<&str, Style>,
        survey: &mut Survey,
    ) -> Result<(), Failure> {
        let mut is_new = false;
        for binding in bindings {
            let style = styles.get(binding.queue.as_str());
            let is_wanted = self.link.version.is_some()
                && style.is_some_and(|style| style.lifetime.durable)
                && survey.exchanges.get(&binding.exchange) == Some(&Exchange::Missing);
            if is_wanted && self.may_declare(&binding.queue, false).await? {
                self.exchange(&binding.exchange, survey).await?;
                is_new = true;
            }
        }
        if is_new { self.check_bindings(bindings, survey).await } else { Ok(()) }
    }

    /// What a message to a topic needs: the exchange, and the queue of the same name as the
    /// routing key. Where this may not be declared or bound, the exchange may still lead to
    /// another: the refusal is given back, for the case that it does not.
    pub(crate) async fn topic(
        &mut self,
        exchange: &str,
        routing_key: &str,
    ) -> Result<Option<ConnectError>, Failure> {
        let binding = Binding {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            queue: routing_key.to_owned(),
        };
        let ready = self.tied(&binding).await?;
        self.warn_of_transient([routing_key]);
        match ready {
            Ok(()) => {
                self.settle_own(routing_key).await;
                self.settle_quorum(routing_key).await?;
                Ok(None)
            }
            Err(Failure::Mistake(
                error @ (ConnectError::Forbidden { .. } | ConnectError::HiddenExchange { .. }),
            )) => Ok(Some(error)),
            Err(failure) => Err(failure),
        }
    }

    /// Sees to an exchange, and to a queue that is bound to it: the inner result. A queue that may
    /// not be declared does not keep the exchange from being declared.
    async fn tied(&mut self, binding: &Binding) -> Result<Result<(), Failure>, Failure> {
        let (mut survey, looked) = self.survey_one(binding).await?;
        if let Some(Exchange::Refused(failure)) = survey.exchanges.get(&binding.exchange) {
            return Err(failure.clone());
        }
        let queue = match looked {
            Ok(Found::Missing) => self.missing_queue(binding, &mut survey).await,
            looked => looked.map(drop),
        };
        if queue.as_ref().is_err_and(|failure| !is_of_the_user(failure)) {
            return Ok(queue);
        }
        self.exchange(&binding.exchange, &mut survey).await?;
        Ok(match queue {
            Ok(()) => self.bind(binding).await,
            refused => refused,
        })
    }

    /// Declares the queue of a message's binding, if it may be bound as well: a listener would take it
    /// for one that is.
    async fn missing_queue(
        &mut self,
        binding: &Binding,
        survey: &mut Survey,
    ) -> Result<(), Failure> {
        if self.link.version.is_some() {
            self.check_bindings(&[binding], survey).await?;
        }
        let styles = self.styles(&[binding], survey).await?;
        self.check_topics(&[binding], &styles, survey).await?;
        for (queue, style) in styles {
            self.declare_missing_queue(queue, style).await?;
        }
        Ok(())
    }

    /// A queue that messages are put straight into, such as that of dead letters: durable whatever
    /// the options say, as it keeps what may not be lost. One that other programs declare, too, and
    /// that has vanished, is declared as it was; one that is consumed here is left to its consumer,
    /// which binds it as well.
    pub(crate) async fn straight(&mut self, queue: &str) -> Result<(), Failure> {
        self.present(queue).await?;
        self.settle(queue).await
    }

    /// As `straight`, for a queue that is not relied on yet.
    async fn present(&mut self, queue: &str) -> Result<(), Failure> {
        let name = short("the queue's name", queue)?;
        let Some(seen) = self.known.queue(queue) else {
            let types = side_queue::dead_letters(self.options);
            return self.declare_first_of(&name, queue, types).await;
        };
        match self.look_for_queue(&name).await {
            Err(fault) if fault.code() == Some(404) && self.known.is_consumed(queue) => {
                Err(Failure::transient(format!(
                    "queue {queue:?} has vanished, and its consumer has not declared it again yet"
                )))
            }
            Err(fault) if fault.code() == Some(404) => {
                self.declare_missing_queue(queue, Style::like(seen, self.options)).await
            }
            Ok(_) => Ok(()),
            Err(fault) => Err(self.refused(fault, "look for", "queue", queue)),
        }
    }

    /// Waits until a queue that may be new survives a crash of the broker: this process, or
    /// another one, may have declared it a moment ago.
    async fn settle(&self, queue: &str) -> Result<(), Failure> {
        sleep(self.known.settling(queue)).await;
        Ok(())
    }

    /// As `settle`, if it was this process that declared the queue. What is transient is lost with
    /// the broker anyway.
    async fn settle_own(&self, queue: &str) {
        let durable = self.known.queue(queue).and_then(Seen::durable);
        if durable != Some(false) {
            sleep(self.known.settling_own(queue)).await;
        }
    }

    /// Waits before a quorum queue is bound, or sent to: what is confirmed for a new one may be lost with
    /// it. One that another process has declared a moment ago, to consume it, shows that by having
    /// neither messages nor consumers.
    async fn settle_quorum(&mut self, queue: &str) -> Result<(), Failure> {
        let is_quorum = self.known.queue(queue).and_then(|seen| seen.quorum) == Some(true);
        let left = self.known.settling(queue);
        if !is_quorum || left.is_zero() {
            return Ok(());
        }
        sleep(self.known.settling_own(queue)).await;
        let name = short("the queue's name", queue)?;
        let found = self.look(&name).await;
        if found.is_ok_and(|found| found.message_count() == 0 && found.consumer_count() == 0) {
            // Half of what is waited for after a declaration: that was some time ago.
            sleep(self.known.settling(queue).saturating_sub(left / 2)).await;
        }
        Ok(())
    }

    /// A quarantine queue: a quorum queue where the broker has them, so that it survives the loss
    /// of a node as the work queue may. One that exists is used as it is.
    pub(crate) async fn quarantine(&mut self, queue: &str) -> Result<(), Failure> {
        let name = short("the quarantine queue's name", queue)?;
        let types = side_queue::types(self.link.version);
        self.declare_first_of(&name, queue, types).await?;
        self.settle(queue).await
    }

    /// A journal: a stream queue.
    pub(crate) async fn journal(&mut self, journal: &str) -> Result<(), Failure> {
        let name = short("the journal's name", journal)?;
        self.declare_first_of(&name, journal, &[SideQueue::Stream]).await?;
        self.settle_own(journal).await;
        Ok(())
    }

    /// Declares a queue that is missing as the first of these that the broker takes.
    async fn declare_first_of(
        &mut self,
        name: &ShortString,
        queue: &str,
        types: &[SideQueue],
    ) -> Result<(), Failure> {
        let mut last = match self.look_for_queue(name).await {
            Ok(messages) => {
                if messages > 0 && is_for_copies(queue) {
                    self.known.holds_a_message(queue);
                }
                return Ok(());
            }
            Err(fault) if fault.code() == Some(404) => fault,
            Err(fault) => return Err(self.refused(fault, "look for", "queue", queue)),
        };
        self.known.is_gone(queue);
        // What is known to be switched off is not asked for again: the refusal ends the connection.
        let known = self.known;
        let mut left = types.iter().copied().filter(|side| known.has(*side)).peekable();
        if left.peek().is_none() {
            return Err(Failure::Mistake(ConnectError::Refused {
                action: format!("declare queue {queue:?}"),
                reason: format!(
                    "the feature flag of {types:?} queues is disabled; enable it with `rabbitmqctl enable_feature_flag`, and start this process again"
                ),
            }));
        }
        while let Some(side) = left.next() {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let arguments = side.arguments(self.link.version);
            match self.declare_new_queue(name, options, arguments).await {
                Ok(()) => {
                    tracing::info!(queue, ?side, "declared the queue");
                    return Ok(());
                }
                Err(fault) if is_about_differences(&fault) => return Ok(()),
                // It has ended the connection: the other type is asked for over the next one.
                Err(fault) if known.refuse_side(side, &fault) && left.peek().is_some() => {
                    return Err(fault.into());
                }
                Err(fault) => last = fault,
            }
            if matches!(last.code(), None | Some(403)) {
                break;
            }
        }
        Err(self.refused(last, "declare", "queue", queue))
    }

    /// A queue that messages are put straight into, and the one that holds them back for it.
    pub(crate) async fn delayed(&mut self, queue: &str, level: Level) -> Result<(), Failure> {
        self.present(queue).await?;
        let retry = level.queue(queue);
        self.holding_back(queue, &retry, level).await?;
        // The one settles while the other does.
        self.settle(&retry).await?;
        self.settle(queue).await
    }

    /// Declares the queue that holds messages back.
    async fn holding_back(
        &mut self,
        queue: &str,
        retry: &str,
        level: Level,
    ) -> Result<(), Failure> {
        let name = short("the retry queue's name", retry)?;
        let holdings = self.known.holdings(self.link.version);
        let mut last = match self.look_for_queue(&name).await {
            Err(fault) if fault.code() == Some(404) => fault,
            Ok(messages) => {
                if messages > 0 {
                    self.known.holds_a_message(retry);
                }
                return Ok(());
            }
            Err(fault) => return Err(self.refused(fault, "look for", "queue", retry)),
        };
        self.known.is_gone(retry);
        for holding in holdings {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let arguments = holding.arguments(queue, level);
            match self.declare_new_queue(&name, options, arguments).await {
                Ok(()) => {
                    tracing::info!(queue = retry, ?holding, "declared the queue that holds back");
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
        Err(match refusal::no_default_exchange(&last, &self.link.user) {
            Some(error) => Failure::Mistake(error),
            None => self.refused(last, "declare", "queue", retry),
        })
    }

    /// Refuses a stream, and a quorum queue that would drop a message too soon. Whoever may not
    /// declare cannot ask, and is let through.
    fn check_queue(&self, queue: &str) -> Result<(), Failure> {
        let Some(seen) = self.known.queue(queue) else { return Ok(()) };
        if seen.stream {
            let queue = queue.to_owned();
            return Err(Failure::Mistake(ConnectError::Stream { queue }));
        }
        let allowed = self.options.allow_low_delivery_limit;
        let check = |limit| delivery_limit::check(queue, limit, self.link.version, allowed);
        seen.limits.deliveries.map_or(Ok(()), check)
    }

    /// Whether a queue goes to one consumer at a time, which nothing but a refusal shows. Whoever
    /// may not declare cannot ask. Asked in each session: a queue may be another by then.
    pub(crate) async fn single(&mut self, queue: &str) -> Result<Single, Failure> {
        let name = short("the queue's name", queue)?;
        let style = match self.known.queue(queue) {
            Some(seen) => Style::like(seen, self.options),
            None => Style::asked(self.options),
        };
        let options = declaration(style);
        let mut probe = Probe::new(options, &arguments(self.options, style, self.expires));
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

    /// Whether the user may declare a queue that is missing, and, if it `moves`, read it as well. Asked
    /// with an argument that RabbitMQ refuses once it has checked the permissions: so nothing is
    /// declared.
    pub(crate) async fn may_declare(&mut self, queue: &str, moves: bool) -> Result<bool, Failure> {
        let name = short("the queue's name", queue)?;
        let arguments = refused_arguments(moves);
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match self.declare_queue_with(&name, options, arguments).await {
            // It is looked at last, and asked by itself.
            Err(fault) if refusal::no_default_exchange(&fault, &self.link.user).is_some() => {
                Ok(true)
            }
            Err(fault) if fault.code() == Some(403) => self.exists(queue).await,
            Err(fault) if fault.code().is_none() => Err(fault.into()),
            Ok(()) | Err(_) => Ok(true),
        }
    }

    /// Whether the user may publish to the default exchange: none where that does not show.
    /// RabbitMQ looks at it when a queue is declared that has its messages put into others;
    /// `missing` may not exist. Refused as in `may_declare`.
    pub(crate) async fn may_publish(&mut self, missing: &str) -> Result<Option<bool>, Failure> {
        let name = short("the queue's name", missing)?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match self.declare_queue_with(&name, options, refused_arguments(true)).await {
            Err(fault) if refusal::no_default_exchange(&fault, &self.link.user).is_some() => {
                Ok(Some(false))
            }
            Err(fault) if fault.code() == Some(403) => Ok(None),
            Err(fault) if fault.code().is_none() => Err(fault.into()),
            Ok(()) | Err(_) => Ok(Some(true)),
        }
    }

    /// Refuses a queue that the user may not consume.
    pub(crate) async fn check_readable(&mut self, queue: &str) -> Result<(), Failure> {
        match self.refusal_to_consume(queue).await? {
            Some(fault) => Err(self.refused(fault, "consume", "queue", queue)),
            None => Ok(()),
        }
    }

    /// Whether the user may consume a queue, if it exists.
    pub(crate) async fn may_read(&mut self, queue: &str) -> Result<bool, Failure> {
        let refusal = self.refusal_to_consume(queue).await?;
        Ok(refusal.is_none_or(|fault| fault.code() != Some(403)))
    }

    /// Why a queue cannot be consumed. Asked with an argument that RabbitMQ refuses, once it has
    /// looked at the permissions: so nothing is delivered.
    async fn refusal_to_consume(&mut self, queue: &str) -> Result<Option<Fault>, Failure> {
        // Another broker might take it.
        if self.link.version.is_none() {
            return Ok(None);
        }
        let name = short("the queue's name", queue)?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-priority".into(), AMQPValue::LongString(LongString::from("?")));
        let channel = self.channel().await?;
        let options = BasicConsumeOptions::default();
        match call(channel.basic_consume(name, "".into(), options, arguments)).await {
            // With the channel goes the consumer, and with that what it was given.
            Ok(_) => drop(self.scratch.take()),
            Err(fault) if fault.code() == Some(406) => {}
            Err(fault) => return Ok(Some(fault)),
        }
        Ok(None)
    }

    /// Whether a queue is there. One that may not be looked at counts as missing.
    pub(crate) async fn exists(&mut self, queue: &str) -> Result<bool, Failure> {
        let name = short("the queue's name", queue)?;
        match self.look_for_queue(&name).await {
            Ok(_) => Ok(true),
            Err(fault) if matches!(fault.code(), Some(403 | 404)) => Ok(false),
            Err(fault) => Err(self.refused(fault, "look for", "queue", queue)),
        }
    }

    /// Takes note of what a quarantine queue is like: it may have a delivery limit. Whether it is there.
    pub(crate) async fn see_quarantine(&mut self, queue: &str) -> Result<bool, Failure> {
        let name = short("the quarantine queue's name", queue)?;
        let Some(seen) = self.inspect(queue, &name).await? else { return Ok(false) };
        self.known.see_queue(queue, seen);
        Ok(true)
    }

    async fn declare_missing_queue(&mut self, queue: &str, style: Style) -> Result<(), Failure> {
        let name = short("the queue's name", queue)?;
        let asked = arguments(self.options, style, self.expires);
        match self.declare_new_queue(&name, declaration(style), asked).await {
            Ok(()) => {
                let Style { lifetime: Lifetime { durable, .. }, quorum, .. } = style;
                tracing::info!(queue, durable, quorum, "declared the queue");
                // Where no type is named the virtual host has one.
                let is_known = quorum || !durable;
                let seen = if is_known { None } else { self.inspect(queue, &name).await? };
                let seen = seen.unwrap_or_else(|| style.into());
                self.known.see_queue(queue, seen);
                Ok(())
            }
            // Somebody else declared it in between: it is used as it is.
            Err(fault) if is_about_differences(&fault) => self.look_at_queue(queue).await.map(drop),
            Err(fault) => Err(mismatch(&fault, queue)
                .or_else(|| refusal::no_transient_queue(&fault, queue, self.options.dialect))
                .unwrap_or_else(|| self.refused(fault, "declare", "queue", queue))),
        }
    }

    /// Declares an exchange if it was missing.
    async fn exchange(&mut self, exchange: &str, survey: &mut Survey) -> Result<(), Failure> {
        match survey.exchanges.get(exchange) {
            Some(Exchange::Missing) => {}
            Some(Exchange::Refused(failure)) => return Err(failure.clone()),
            Some(Exchange::Shown(_) | Exchange::Hidden | Exchange::Silent) | None => return Ok(()),
        }
        let planned = survey.planned.get(exchange).copied();
        let lifetime = planned.unwrap_or_else(|| Style::asked(self.options).lifetime);
        let declared = self.declare_missing_exchange(exchange, lifetime).await;
        let look = match &declared {
            Ok(()) => Exchange::Shown(lifetime),
            Err(failure) => Exchange::Refused(failure.clone()),
        };
        survey.exchanges.insert(exchange.to_owned(), look);
        declared
    }

    async fn declare_missing_exchange(
        &mut self,
        exchange: &str,
        lifetime: Lifetime,
    ) -> Result<(), Failure> {
        let name = short("the exchange's name", exchange)?;
        match self.declare_exchange(&name, exchange_options(lifetime)).await {
            Ok(()) => {
                tracing::info!(exchange, durable = lifetime.durable, "declared the exchange");
                self.known.see_exchange(exchange, lifetime);
                Ok(())
            }
            // Somebody else declared it in between: it is used as it is.
            Err(fault) if is_about_differences(&fault) => {
                self.look_at_exchange(exchange).await.map(drop)
            }
            Err(fault) => Err(self.refused(fault, "declare", "exchange", exchange)),
        }
    }

    /// Says once for each driver that what is in transient queues is lost with the broker.
    fn warn_of_transient<'q>(&self, queues: impl IntoIterator<Item = &'q str>) {
        let is_transient = |queue: &&str| {
            self.known.queue(queue).is_some_and(|seen| seen.durable() == Some(false))
        };
        let transient: BTreeSet<_> = queues.into_iter().filter(is_transient).collect();
        if !transient.is_empty() && self.known.is_first_warning() {
            tracing::warn!(queues = ?transient, "{TRANSIENT}");
        }
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
                refusal::doing(fault, &action, &self.link.user)
            })
    }

    /// How many messages wait in a queue that exists.
    pub(crate) async fn look_for_queue(&mut self, name: &ShortString) -> Result<u32, Fault> {
        Ok(self.look(name).await?.message_count())
    }

    /// How many messages of a queue are ready. `None` if a quorum queue is too busy to answer: the
    /// broker waits for its leader for 250 ms, and then reports 0 (`rabbit_quorum_queue:stat/1`).
    pub(crate) async fn ready(&mut self, queue: &str) -> Result<Option<u32>, Failure> {
        let name = short("the queue's name", queue)?;
        self.channel().await?;
        let asked = Instant::now();
        let ready = self.look_for_queue(&name).await;
        let ready = ready.map_err(|fault| self.refused(fault, "look for", "queue", queue))?;
        Ok((asked.elapsed() < LEADER_TIMEOUT).then_some(ready))
    }

    async fn look(&mut self, name: &ShortString) -> Result<lapin::Queue, Fault> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await?;
        call(channel.queue_declare(name.clone(), options, FieldTable::default())).await
    }

    pub(crate) async fn declare_queue(
        &mut self,
        name: &ShortString,
        style: Style,
    ) -> Result<(), Fault> {
        let arguments = arguments(self.options, style, self.expires);
        self.declare_queue_with(name, declaration(style), arguments).await
    }

    /// Declares a queue that was missing. It counts as new from the request on, for the answer may
    /// never be read, and again from the answer on.
    async fn declare_new_queue(
        &mut self,
        name: &ShortString,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        self.known.declared(name.as_str());
        self.declare_queue_with(name, options, arguments).await?;
        self.known.declared(name.as_str());
        Ok(())
    }

    pub(crate) async fn declare_queue_with(
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

    pub(crate) fn refused(&self, fault: Fault, verb: &str, what: &str, name: &str) -> Failure {
        refusal::doing(fault, &format!("{verb} {what} {name:?}"), &self.link.user)
    }
}

/// Arguments of a queue that RabbitMQ refuses once it has looked at the permissions, also those to
/// read it and to have its messages put into others if it `moves` them.
fn refused_arguments(moves: bool) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(0));
    if moves {
        let nameless = AMQPValue::LongString(LongString::from(""));
        arguments.insert("x-dead-letter-exchange".into(), nameless);
    }
    arguments
}

/// Whether only listeners put something into a queue of this name, once it has settled.
fn is_for_copies(queue: &str) -> bool {
    [dead_letter_queue(""), quarantine_queue("")].iter().any(|end| queue.ends_with(end.as_str()))
}

fn is_forbidden(failure: &Failure) -> bool {
    matches!(failure, Failure::Mistake(ConnectError::Forbidden { .. }))
}

/// Whether another user might do it, or has done it.
fn is_of_the_user(failure: &Failure) -> bool {
    is_forbidden(failure)
        || matches!(failure, Failure::Mistake(ConnectError::HiddenExchange { .. }))
}

pub(crate) fn declaration(style: Style) -> QueueDeclareOptions {
    let Lifetime { durable, auto_delete } = style.lifetime;
    QueueDeclareOptions { durable, auto_delete, ..QueueDeclareOptions::default() }
}

pub(crate) fn exchange_options(lifetime: Lifetime) -> ExchangeDeclareOptions {
    let Lifetime { durable, auto_delete } = lifetime;
    ExchangeDeclareOptions { durable, auto_delete, ..ExchangeDeclareOptions::default() }
}

/// Somebody else declared it in between: it is used as it is.
fn is_about_differences(fault: &Fault) -> bool {
    matches!(fault, Fault::Broker { code: 406, text } if refusal::difference(text).is_some())
}

pub(crate) fn mismatch(fault: &Fault, queue: &str) -> Option<Failure> {
    let Fault::Broker { code: 406, text } = fault else {
        return None;
    };
    Some(Failure::Mistake(ConnectError::Mismatch {
        what: format!("queue {queue:?}"),
        difference: refusal::difference(text)?,
    }))
}

pub(crate) fn short(what: &str, name: &str) -> Result<ShortString, Failure> {
    wire::short(what, name).map_err(|_| {
        let (what, length) = (what.to_owned(), name.len());
        Failure::Mistake(ConnectError::NameTooLong { what, length, limit: NAME_LIMIT })
    })
}

/// The arguments of a queue, those that oslo.messaging declares with.
pub(crate) fn arguments(
    options: &RabbitOptions,
    style: Style,
    expires: Option<Duration>,
) -> FieldTable {
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
    if style.quorum {
        table.insert("x-queue-type".into(), text("quorum"));
        for (name, limit) in style.limits.named() {
            let Some(limit) = limit else { continue };
            table.insert(name.into(), AMQPValue::LongLongInt(limit));
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
            let table = arguments(options, Style::asked(options), expires);
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
