//! What there is of that which bindings name, and what it shows of how the deployment declares: looked
//! at before anything is declared, so that what is missing is declared so that the deployment's other
//! programs can declare it, too. What each look asks for, and what it means, is `deployment.rs`;
//! `topology.rs` declares.

use std::collections::{BTreeMap, BTreeSet};

use lapin::options::ExchangeDeclareOptions;
use lapin::types::{FieldTable, ShortString};

use super::deployment::{self, ExchangeProbe, Lifetime, Probe, Seen, Style, Told};
use crate::drivers::rabbit::connection::refusal::{Failure, Fault};
use crate::drivers::rabbit::topology::{
    Topology, arguments, declaration, exchange_options, mismatch, short,
};
use crate::notification::priority::Priority;
use crate::target::routing_key;
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// Whether a queue is there before anything is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Existing,
    Missing,
}

/// What a look at an exchange shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// It exists, and stays for so long.
    Shown(Lifetime),
    /// It exists, and the broker does not show to this user, who may not declare it, how long it stays.
    Hidden,
    /// It exists and says nothing of the deployment: the broker has declared it, or is none that tells.
    Silent,
    /// It is missing, and may be declared.
    Missing,
    /// It is missing, and was refused to this user: another one has to declare it.
    Refused(Failure),
}

/// What there is of that which bindings name.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) exchanges: BTreeMap<String, Exchange>,
    /// How those exchanges are declared that are missing, where that shows.
    pub(crate) planned: BTreeMap<String, Lifetime>,
    pub(crate) queues: BTreeMap<String, Found>,
    /// Those queues that other programs declare, too: named as the routing key.
    shared: BTreeSet<String>,
}

impl Survey {
    pub(crate) fn queue(&self, name: &str) -> Found {
        self.queues.get(name).copied().unwrap_or(Found::Missing)
    }

    fn existing_shared(&self) -> impl Iterator<Item = &String> {
        self.shared.iter().filter(|name| self.queue(name) == Found::Existing)
    }
}

impl Topology<'_> {
    /// Looks at all that bindings name, before anything is declared: what exists shows how.
    pub(crate) async fn survey(&mut self, bindings: &[&Binding]) -> Result<Survey, Failure> {
        let mut survey = Survey::default();
        for binding in bindings {
            self.survey_exchange(&binding.exchange, &mut survey).await?;
            if !survey.queues.contains_key(&binding.queue) {
                let looked = self.look_at_queue(&binding.queue).await?;
                survey.queues.insert(binding.queue.clone(), looked);
            }
            if binding.queue == binding.routing_key {
                self.see_shared(&binding.queue, &mut survey);
            }
        }
        self.look_for_evidence(bindings, &mut survey).await?;
        self.plan_exchanges(bindings, &mut survey);
        Ok(survey)
    }

    /// As `survey`, for the one binding of a message. A queue that may not be used as it is does not
    /// keep the exchange from being declared: the inner result.
    pub(crate) async fn survey_one(
        &mut self,
        binding: &Binding,
    ) -> Result<(Survey, Result<Found, Failure>), Failure> {
        let mut survey = Survey::default();
        self.survey_exchange(&binding.exchange, &mut survey).await?;
        let looked = self.look_at_queue(&binding.queue).await;
        survey.queues.insert(binding.queue.clone(), looked.clone().unwrap_or(Found::Existing));
        self.see_shared(&binding.queue, &mut survey);
        self.look_for_evidence(&[binding], &mut survey).await?;
        self.plan_exchanges(&[binding], &mut survey);
        Ok((survey, looked))
    }

    async fn survey_exchange(
        &mut self,
        exchange: &str,
        survey: &mut Survey,
    ) -> Result<(), Failure> {
        if !survey.exchanges.contains_key(exchange) {
            let looked = self.look_at_exchange(exchange).await?;
            survey.exchanges.insert(exchange.to_owned(), looked);
        }
        Ok(())
    }

    /// Decides how those exchanges are declared that are missing, before anything is.
    fn plan_exchanges(&self, bindings: &[&Binding], survey: &mut Survey) {
        for Binding { exchange, .. } in bindings {
            if survey.exchanges.get(exchange) == Some(&Exchange::Missing)
                && let Some(lifetime) = self.lifetime_of_exchange(exchange, bindings, survey)
            {
                survey.planned.insert(exchange.clone(), lifetime);
            }
        }
    }

    /// Takes note that other programs declare a queue, too.
    fn see_shared(&self, queue: &str, survey: &mut Survey) {
        survey.shared.insert(queue.to_owned());
        let existing = survey.queue(queue) == Found::Existing;
        if let Some(seen) = self.known.queue(queue).filter(|_| existing) {
            self.known.see_shared(seen);
        }
    }

    /// Looks for a queue that shows how the deployment declares, if that is not known and something
    /// is to be declared: one of another priority, or the unpooled one. None could be bound to a
    /// transient exchange otherwise.
    async fn look_for_evidence(
        &mut self,
        bindings: &[&Binding],
        survey: &mut Survey,
    ) -> Result<(), Failure> {
        let is_transient = |exchange: &Exchange| {
            matches!(exchange, Exchange::Shown(Lifetime { durable: false, .. }))
        };
        let shows = |name: &String| self.known.queue(name).is_some_and(|q| q.lifetime.is_some());
        let is_wanted = deployment::goes_by_evidence(self.options)
            && survey.queues.values().any(|found| *found == Found::Missing)
            && !survey.exchanges.values().all(is_transient)
            && !survey.existing_shared().any(shows);
        if !is_wanted {
            return Ok(());
        }
        let topics: BTreeSet<_> =
            bindings.iter().filter_map(|b| Some(b.routing_key.rsplit_once('.')?.0)).collect();
        for topic in topics {
            for queue in Priority::ALL.map(|priority| routing_key(topic, priority)) {
                let Ok(name) = short("the queue's name", &queue) else { continue };
                if survey.queues.contains_key(&queue) || !self.exists(&queue).await? {
                    continue;
                }
                // One that is hidden from this user, too, shows nothing.
                let seen = self.inspect(&queue, &name).await?;
                let Some(seen) = seen.filter(|seen| seen.lifetime.is_some()) else { continue };
                self.known.see_queue(&queue, seen);
                survey.queues.insert(queue.clone(), Found::Existing);
                self.see_shared(&queue, survey);
                return Ok(());
            }
        }
        Ok(())
    }

    /// How the queues of these bindings are declared that are missing.
    pub(crate) async fn styles<'b>(
        &mut self,
        bindings: &[&'b Binding],
        survey: &Survey,
    ) -> Result<BTreeMap<&'b str, Style>, Failure> {
        let mut styles = BTreeMap::new();
        let queues: BTreeSet<_> = bindings.iter().map(|binding| binding.queue.as_str()).collect();
        for queue in queues.into_iter().filter(|queue| survey.queue(queue) == Found::Missing) {
            let style = match self.style_of_queue(queue, bindings, survey) {
                // That it may not be declared at all is told by the broker.
                Err(_) if !self.may_declare(queue, false).await? => Style::asked(self.options),
                style => style?,
            };
            styles.insert(queue, style);
        }
        Ok(styles)
    }

    /// How a queue that is missing is declared: as it was when it was seen; as its exchanges show,
    /// which programs with other settings could not use; as the other queues of the deployment are.
    ///
    /// # Errors
    /// Nothing shows what the deployment's other programs declare it with, because this user may not
    /// see it: whoever declares it otherwise is refused, and loses what it publishes.
    fn style_of_queue(
        &self,
        queue: &str,
        bindings: &[&Binding],
        survey: &Survey,
    ) -> Result<Style, Failure> {
        if let Some(seen) = self.known.queue(queue).filter(|seen| seen.lifetime.is_some()) {
            return Ok(Style::like(seen, self.options));
        }
        let its_own: Vec<_> = bindings
            .iter()
            .filter(|binding| binding.queue == queue)
            .map(|binding| binding.exchange.as_str())
            .collect();
        let its_exchanges = its_own.iter().map(|exchange| self.exchange_shown(exchange, survey));
        let others = survey.exchanges.keys().map(|name| self.exchange_shown(name, survey));
        let shared = survey.existing_shared().filter_map(|name| self.known.queue(name));
        let queues: Vec<_> = shared.chain(self.known.shared()).collect();
        let lifetimes: Vec<_> =
            its_exchanges.chain(queues.iter().map(|seen| seen.lifetime)).chain(others).collect();
        let shows = lifetimes.iter().any(Option::is_some);
        if shows || !deployment::goes_by_evidence(self.options) {
            return Ok(Style::of(self.options, lifetimes, queues));
        }
        let look = |exchange: &&str| survey.exchanges.get(*exchange);
        let hidden = its_own.iter().find(|name| look(name) == Some(&Exchange::Hidden));
        let refused = its_own.iter().find_map(|name| match look(name) {
            Some(Exchange::Refused(failure)) => Some(missing_exchange(failure.clone(), name)),
            _ => None,
        });
        match (hidden, refused) {
            (None, None) => Ok(Style::asked(self.options)),
            _ if !survey.shared.contains(queue) => Ok(Style::durable(self.options)),
            (Some(exchange), _) => Err(Failure::Mistake(ConnectError::HiddenExchange {
                exchange: (*exchange).to_owned(),
                queue: queue.to_owned(),
                user: self.link.user.clone(),
            })),
            (None, Some(failure)) => Err(failure),
        }
    }

    /// How long an exchange stays, or will once it is declared.
    fn exchange_shown(&self, exchange: &str, survey: &Survey) -> Option<Lifetime> {
        match survey.exchanges.get(exchange)? {
            Exchange::Shown(lifetime) => Some(*lifetime),
            Exchange::Missing => survey.planned.get(exchange).copied(),
            // As it was when it could be seen.
            Exchange::Hidden | Exchange::Silent | Exchange::Refused(_) => {
                self.known.exchange(exchange)
            }
        }
    }

    /// How long an exchange that is missing is to stay: as it did when it was seen, whatever the
    /// options say, for its owner declares it so; as the queues do that other programs bind to it; as
    /// the deployment's other exchanges and queues do. None if the options say.
    fn lifetime_of_exchange(
        &self,
        exchange: &str,
        bindings: &[&Binding],
        survey: &Survey,
    ) -> Option<Lifetime> {
        if let Some(seen) = self.known.exchange(exchange) {
            return Some(seen);
        }
        let is_own =
            |name: &&String| bindings.iter().any(|b| b.exchange == exchange && b.queue == **name);
        let shown = |name: &String| self.known.queue(name).and_then(|seen| seen.lifetime);
        let others = survey.exchanges.iter().filter(|(_, look)| **look != Exchange::Missing);
        let lifetimes: Vec<_> = survey
            .existing_shared()
            .filter(is_own)
            .map(shown)
            .chain(others.map(|(name, _)| self.exchange_shown(name, survey)))
            .chain(survey.existing_shared().map(shown))
            .chain([self.known.shared().and_then(|seen| seen.lifetime)])
            .collect();
        let shows = lifetimes.iter().any(Option::is_some);
        shows.then(|| Style::of(self.options, lifetimes, []).lifetime)
    }

    pub(crate) async fn look_at_queue(&mut self, queue: &str) -> Result<Found, Failure> {
        let name = short("the queue's name", queue)?;
        match self.look_for_queue(&name).await {
            Ok(_) => {}
            Err(fault) if fault.code() == Some(404) => return Ok(Found::Missing),
            // Not even looking is allowed; consuming may be.
            Err(fault) if fault.code() == Some(403) => return Ok(Found::Existing),
            Err(fault) => return Err(self.refused(fault, "look for", "queue", queue)),
        }
        if self.options.ask_for_queues() {
            match self.compare(&name).await {
                Ok(()) => {}
                Err(fault) if fault.code() == Some(403) || is_about_expiry(&fault) => {}
                Err(fault) if deployment::is_of_a_new_queue(&fault) => return Ok(Found::Missing),
                Err(fault) => {
                    return Err(mismatch(&fault, queue)
                        .unwrap_or_else(|| self.refused(fault, "declare", "queue", queue)));
                }
            }
        }
        let Some(seen) = self.inspect(queue, &name).await? else { return Ok(Found::Missing) };
        self.check_auto_delete(queue, seen)?;
        self.known.see_queue(queue, seen);
        Ok(Found::Existing)
    }

    /// Compares a queue that exists with what the options ask for.
    async fn compare(&mut self, name: &ShortString) -> Result<(), Fault> {
        let style = Style::asked(self.options);
        // Another broker may take any argument.
        if self.link.version.is_some() {
            let asked = arguments(self.options, style, self.expires);
            let asked = deployment::compared(asked);
            match self.declare_queue_with(name, declaration(style), asked).await {
                Err(fault) => match deployment::told_of_the_last(&fault) {
                    Some(None) => return Ok(()),
                    // It has one itself, and is refused in the same way below.
                    Some(Some(_)) => {}
                    None => return Err(fault),
                },
                Ok(()) => return Ok(()),
            }
        }
        self.declare_queue(name, style).await
    }

    /// What a queue that exists is like: a declaration that differs is refused, and the refusal
    /// tells. None if it has vanished. Asked in each session, for a queue may be another by then.
    pub(crate) async fn inspect(
        &mut self,
        queue: &str,
        name: &ShortString,
    ) -> Result<Option<Seen>, Failure> {
        let mut probe = Probe::new();
        loop {
            let asked = self.declare_queue_with(name, probe.options, probe.arguments()).await;
            let Err(fault) = asked else { return Ok(Some(probe.so_far())) };
            if fault.code().is_none() {
                return Err(self.refused(fault, "look for", "queue", queue));
            }
            match probe.refused(&fault) {
                Told::Again => {}
                Told::Seen(seen) => return Ok(Some(seen)),
                Told::Gone => return Ok(None),
            }
        }
    }

    /// Compares the one option that may be given while the others are left to what exists.
    fn check_auto_delete(&self, queue: &str, seen: Seen) -> Result<(), Failure> {
        let (Some(asked), Some(found)) = (self.options.amqp_auto_delete, seen.lifetime) else {
            return Ok(());
        };
        if asked == found.auto_delete {
            return Ok(());
        }
        let is = found.auto_delete;
        Err(Failure::Mistake(ConnectError::Mismatch {
            what: format!("queue {queue:?}"),
            difference: format!("auto_delete was asked to be {asked}, and is {is}"),
        }))
    }

    /// Looks at an exchange by declarations that are refused whatever it is like. RabbitMQ looks at the
    /// permission first, of one that is missing as well.
    pub(crate) async fn look_at_exchange(&mut self, exchange: &str) -> Result<Exchange, Failure> {
        if exchange.is_empty() || exchange.starts_with("amq.") {
            return Ok(Exchange::Silent);
        }
        let name = short("the exchange's name", exchange)?;
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let exists = match self.declare_exchange(&name, passive).await {
            Ok(()) => true,
            Err(fault) if fault.code() == Some(404) => false,
            Err(fault) if fault.code() == Some(403) => return Ok(Exchange::Hidden),
            Err(fault) => return Err(self.refused(fault, "look for", "exchange", exchange)),
        };
        let arguments = match self.link.version {
            Some(_) => ExchangeProbe::arguments(),
            // Another broker may take any argument.
            None if exists => FieldTable::default(),
            None => return Ok(Exchange::Missing),
        };
        let mut probe = ExchangeProbe::new(self.options);
        loop {
            let (kind, options) = (probe.kind.clone(), exchange_options(probe.lifetime));
            let asked = self.declare_exchange_of(kind, &name, options, arguments.clone()).await;
            let Err(fault) = asked else { break };
            if probe.refused(&fault) {
                continue;
            }
            if ExchangeProbe::is_about_the_rest(&fault) {
                break;
            }
            return match fault.code() {
                Some(403) if exists => Ok(Exchange::Hidden),
                Some(403) => {
                    Ok(Exchange::Refused(self.refused(fault, "declare", "exchange", exchange)))
                }
                Some(406) if !exists || ExchangeProbe::is_of_a_new_one(&fault) => {
                    Ok(Exchange::Missing)
                }
                Some(406) => Ok(Exchange::Silent),
                _ => Err(self.refused(fault, "look for", "exchange", exchange)),
            };
        }
        self.known.see_exchange(exchange, probe.lifetime);
        Ok(Exchange::Shown(probe.lifetime))
    }
}

/// What it means for a listener that an exchange is missing and may not be declared: nothing comes
/// before its owner has declared it.
pub(crate) fn missing_exchange(failure: Failure, exchange: &str) -> Failure {
    match failure {
        Failure::Mistake(ConnectError::Forbidden { user, reason, .. }) => {
            let exchange = exchange.to_owned();
            Failure::Mistake(ConnectError::NoExchange { exchange, user, reason })
        }
        failure => failure,
    }
}

/// How soon a queue goes away is asked of new ones only.
fn is_about_expiry(fault: &Fault) -> bool {
    matches!(fault, Fault::Broker { code: 406, text } if text.contains("arg 'x-expires'"))
}
