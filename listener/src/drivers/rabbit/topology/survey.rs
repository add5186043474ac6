//! Which of the queues and exchanges that bindings name exist, and how the missing ones are declared so
//! that the deployment's other programs can declare them as well. Done before anything is declared.
//! Single objects are inspected in `inspect.rs`, and declared in `declare.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::channel::{TopologyChannel, short};
use super::declaration::{self, QueueDeclaration};
use super::inspect::{ExchangeState, Presence, inspect_exchange, inspect_queue, queue_properties};
use super::permissions::{Access, may_declare};
use super::properties::Lifetime;
use crate::drivers::rabbit::connection::failure::Failure;
use crate::notification::priority::Priority;
use crate::target::routing_key;
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// What exists of the queues and exchanges that bindings name.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) exchanges: BTreeMap<String, ExchangeState>,
    /// The lifetimes with which missing exchanges are declared, where there is evidence.
    pub(crate) planned: BTreeMap<String, Lifetime>,
    pub(crate) queues: BTreeMap<String, Presence>,
    /// Queues that other programs declare as well: those named as the routing key.
    shared: BTreeSet<String>,
}

impl Survey {
    pub(crate) fn queue(&self, name: &str) -> Presence {
        self.queues.get(name).copied().unwrap_or(Presence::Missing)
    }

    fn existing_shared(&self) -> impl Iterator<Item = &String> {
        self.shared.iter().filter(|name| self.queue(name) == Presence::Existing)
    }
}

/// Inspects all queues and exchanges that bindings name.
pub(crate) async fn survey(
    topology: &mut TopologyChannel<'_>,
    bindings: &[&Binding],
) -> Result<Survey, Failure> {
    let mut survey = Survey::default();
    for binding in bindings {
        survey_exchange(topology, &binding.exchange, &mut survey).await?;
        if !survey.queues.contains_key(&binding.queue) {
            let presence = inspect_queue(topology, &binding.queue).await?;
            survey.queues.insert(binding.queue.clone(), presence);
        }
        if binding.queue == binding.routing_key {
            record_shared(topology, &binding.queue, &mut survey);
        }
    }
    find_evidence(topology, bindings, &mut survey).await?;
    plan_exchanges(topology, bindings, &mut survey);
    Ok(survey)
}

/// What exists of the exchange and the queue of a message.
pub(crate) struct TopicSurvey {
    pub(crate) survey: Survey,
    /// The exchange is declared even if the queue cannot be used.
    pub(crate) queue: Result<Presence, Failure>,
}

/// As `survey`, for the binding of a message.
pub(crate) async fn survey_topic(
    topology: &mut TopologyChannel<'_>,
    binding: &Binding,
) -> Result<TopicSurvey, Failure> {
    let mut survey = Survey::default();
    survey_exchange(topology, &binding.exchange, &mut survey).await?;
    let queue = inspect_queue(topology, &binding.queue).await;
    survey.queues.insert(binding.queue.clone(), queue.clone().unwrap_or(Presence::Existing));
    record_shared(topology, &binding.queue, &mut survey);
    find_evidence(topology, &[binding], &mut survey).await?;
    plan_exchanges(topology, &[binding], &mut survey);
    Ok(TopicSurvey { survey, queue })
}

async fn survey_exchange(
    topology: &mut TopologyChannel<'_>,
    exchange: &str,
    survey: &mut Survey,
) -> Result<(), Failure> {
    if !survey.exchanges.contains_key(exchange) {
        let state = inspect_exchange(topology, exchange).await?;
        survey.exchanges.insert(exchange.to_owned(), state);
    }
    Ok(())
}

/// Decides how missing exchanges are declared.
fn plan_exchanges(topology: &TopologyChannel<'_>, bindings: &[&Binding], survey: &mut Survey) {
    for Binding { exchange, .. } in bindings {
        if survey.exchanges.get(exchange) == Some(&ExchangeState::Missing)
            && let Some(lifetime) = lifetime_of_exchange(topology, exchange, bindings, survey)
        {
            survey.planned.insert(exchange.clone(), lifetime);
        }
    }
}

/// Records that other programs declare a queue as well.
fn record_shared(topology: &TopologyChannel<'_>, queue: &str, survey: &mut Survey) {
    survey.shared.insert(queue.to_owned());
    let existing = survey.queue(queue) == Presence::Existing;
    if let Some(seen) = topology.broker.queue(queue).filter(|_| existing) {
        topology.broker.see_shared(seen);
    }
}

/// Looks for a queue that shows how the deployment declares queues, if this is unknown and something is
/// to be declared: one of another priority, or the one without a pool.
async fn find_evidence(
    topology: &mut TopologyChannel<'_>,
    bindings: &[&Binding],
    survey: &mut Survey,
) -> Result<(), Failure> {
    let is_transient = |exchange: &ExchangeState| {
        matches!(exchange, ExchangeState::Visible(Lifetime { durable: false, .. }))
    };
    let has_lifetime =
        |name: &String| topology.broker.queue(name).is_some_and(|seen| seen.lifetime.is_some());
    let is_wanted = declaration::goes_by_evidence(topology.options)
        && survey.queues.values().any(|found| *found == Presence::Missing)
        && !survey.exchanges.values().all(is_transient)
        && !survey.existing_shared().any(has_lifetime);
    if !is_wanted {
        return Ok(());
    }
    let topics: BTreeSet<_> =
        bindings.iter().filter_map(|b| Some(b.routing_key.rsplit_once('.')?.0)).collect();
    for topic in topics {
        for queue in Priority::ALL.map(|priority| routing_key(topic, priority)) {
            let Ok(name) = short("the queue's name", &queue) else { continue };
            if survey.queues.contains_key(&queue) || !topology.exists(&queue).await? {
                continue;
            }
            // If this user may not see its properties, it is no evidence.
            let seen = queue_properties(topology, &queue, &name).await?;
            let Some(seen) = seen.filter(|seen| seen.lifetime.is_some()) else { continue };
            topology.broker.see_queue(&queue, seen);
            survey.queues.insert(queue.clone(), Presence::Existing);
            record_shared(topology, &queue, survey);
            return Ok(());
        }
    }
    Ok(())
}

/// How the missing queues of these bindings are declared.
pub(crate) async fn declarations<'b>(
    topology: &mut TopologyChannel<'_>,
    bindings: &[&'b Binding],
    survey: &Survey,
) -> Result<BTreeMap<&'b str, QueueDeclaration>, Failure> {
    let mut declarations = BTreeMap::new();
    let queues: BTreeSet<_> = bindings.iter().map(|binding| binding.queue.as_str()).collect();
    for queue in queues.into_iter().filter(|queue| survey.queue(queue) == Presence::Missing) {
        let declaration = match declaration_of_queue(topology, queue, bindings, survey) {
            // The broker reports that it may not be declared.
            Err(_) if !may_declare(topology, queue, Access::Declare).await? => {
                QueueDeclaration::from_options(topology.options)
            }
            declaration => declaration?,
        };
        declarations.insert(queue, declaration);
    }
    Ok(declarations)
}

/// How a missing queue is declared, by the first of these that is known: the queue when it was last seen; its
/// exchanges, because programs with other settings could not use them; the other queues of the deployment.
///
/// # Errors
/// There is no evidence how the deployment's other programs declare the queue, because this user may not
/// see it. Programs that declare it differently would be refused, and could not publish.
fn declaration_of_queue(
    topology: &TopologyChannel<'_>,
    queue: &str,
    bindings: &[&Binding],
    survey: &Survey,
) -> Result<QueueDeclaration, Failure> {
    if let Some(seen) = topology.broker.queue(queue).filter(|seen| seen.lifetime.is_some()) {
        return Ok(QueueDeclaration::same_as(seen, topology.options));
    }
    let its_own: Vec<_> = bindings
        .iter()
        .filter(|binding| binding.queue == queue)
        .map(|binding| binding.exchange.as_str())
        .collect();
    let its_exchanges = its_own.iter().map(|exchange| visible_lifetime(topology, exchange, survey));
    let others = survey.exchanges.keys().map(|name| visible_lifetime(topology, name, survey));
    let shared = survey.existing_shared().filter_map(|name| topology.broker.queue(name));
    let queues: Vec<_> = shared.chain(topology.broker.shared()).collect();
    let lifetimes: Vec<_> =
        its_exchanges.chain(queues.iter().map(|seen| seen.lifetime)).chain(others).collect();
    let has_evidence = lifetimes.iter().any(Option::is_some);
    if has_evidence || !declaration::goes_by_evidence(topology.options) {
        return Ok(QueueDeclaration::from_evidence(topology.options, lifetimes, queues));
    }
    let state = |exchange: &&str| survey.exchanges.get(*exchange);
    let hidden = its_own.iter().find_map(|name| match state(name) {
        Some(ExchangeState::Hidden(reason)) => Some((*name, reason)),
        _ => None,
    });
    let refused = its_own.iter().find_map(|name| match state(name) {
        Some(ExchangeState::Refused(failure)) => Some(missing_exchange(failure.clone(), name)),
        _ => None,
    });
    match (hidden, refused) {
        (None, None) => Ok(QueueDeclaration::from_options(topology.options)),
        _ if !survey.shared.contains(queue) => {
            Ok(QueueDeclaration::durable_without_type(topology.options))
        }
        (Some((exchange, reason)), _) => Err(hidden_exchange(topology, queue, exchange, reason)),
        (None, Some(failure)) => Err(failure),
    }
}

/// The failure of a user who may not see how the deployment's other programs declare a missing queue.
fn hidden_exchange(
    topology: &TopologyChannel<'_>,
    queue: &str,
    exchange: &str,
    reason: &str,
) -> Failure {
    Failure::Permanent(ConnectError::Forbidden {
        user: topology.link.user.clone(),
        action: format!(
            "see whether the queues of the deployment are durable, and queue {queue:?} is missing"
        ),
        fix: format!(
            "set amqp_durable_queues (true or false) in the transport URL as the other services have it, or grant the permission to configure exchange {exchange:?}"
        )
        .into(),
        reason: reason.to_owned(),
    })
}

/// The lifetime of an exchange, or the one with which it will be declared.
fn visible_lifetime(
    topology: &TopologyChannel<'_>,
    exchange: &str,
    survey: &Survey,
) -> Option<Lifetime> {
    match survey.exchanges.get(exchange)? {
        ExchangeState::Visible(lifetime) => Some(*lifetime),
        ExchangeState::Missing => survey.planned.get(exchange).copied(),
        // As when it was last visible.
        ExchangeState::Hidden(_) | ExchangeState::Uninformative | ExchangeState::Refused(_) => {
            topology.broker.exchange(exchange)
        }
    }
}

/// The lifetime of a missing exchange: as when it was last seen, whatever the options are, because its
/// owner declares it so; as that of the queues that other programs bind to it; as that of the
/// deployment's other exchanges and queues. None if the options decide.
fn lifetime_of_exchange(
    topology: &TopologyChannel<'_>,
    exchange: &str,
    bindings: &[&Binding],
    survey: &Survey,
) -> Option<Lifetime> {
    if let Some(seen) = topology.broker.exchange(exchange) {
        return Some(seen);
    }
    let is_own =
        |name: &&String| bindings.iter().any(|b| b.exchange == exchange && b.queue == **name);
    let lifetime = |name: &String| topology.broker.queue(name).and_then(|seen| seen.lifetime);
    let others = survey.exchanges.iter().filter(|(_, state)| **state != ExchangeState::Missing);
    let lifetimes: Vec<_> = survey
        .existing_shared()
        .filter(is_own)
        .map(lifetime)
        .chain(others.map(|(name, _)| visible_lifetime(topology, name, survey)))
        .chain(survey.existing_shared().map(lifetime))
        .chain([topology.broker.shared().and_then(|seen| seen.lifetime)])
        .collect();
    let has_evidence = lifetimes.iter().any(Option::is_some);
    has_evidence.then(|| QueueDeclaration::from_evidence(topology.options, lifetimes, []).lifetime)
}

/// The failure of a listener whose exchange is missing and may not be declared: it receives nothing
/// before its owner has declared it.
pub(crate) fn missing_exchange(failure: Failure, exchange: &str) -> Failure {
    match failure {
        Failure::Permanent(ConnectError::Forbidden { user, reason, .. }) => {
            let exchange = exchange.to_owned();
            Failure::Permanent(ConnectError::NoExchange { exchange, user, reason })
        }
        failure => failure,
    }
}
