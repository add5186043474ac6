//! Declares missing queues and exchanges, after it is certain that they can be bound. What exists is
//! used unchanged. How they are declared is decided in `survey.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::channel::{TopologyChannel, exchange_options, short};
use super::declaration::QueueDeclaration;
use super::inspect::{ExchangeState, Presence, inspect_exchange, inspect_queue, queue_properties};
use super::permissions::{Access, may_declare};
use super::properties::{Lifetime, QueueType};
use super::survey::Survey;
use crate::drivers::rabbit::connection::failure::{self, Failure, Operation, mismatch};
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// Logged once for each driver.
const TRANSIENT: &str = "transient queues, oslo.messaging's default: their messages are lost when RabbitMQ \
                         restarts; set amqp_durable_queues=true (or rabbit_quorum_queue=true) for \
                         all services of the deployment and in the transport URL, and delete them \
                         and their exchanges once so that they are declared again";

/// Refuses missing queues that may not be bound, before they are declared: at the next start they would
/// exist, and count as bound. RabbitMQ checks permissions before it looks for the queue.
pub(super) async fn check_bindings(
    topology: &mut TopologyChannel<'_>,
    bindings: &[&Binding],
    survey: &Survey,
) -> Result<(), Failure> {
    let is_missing = |queue: &str| survey.queue(queue) == Presence::Missing;
    for binding in bindings.iter().filter(|binding| is_missing(&binding.queue)) {
        // It usually fails, because the queue is missing.
        let Err(failure) = topology.bind(binding).await else { continue };
        if is_forbidden(&failure) && may_declare(topology, &binding.queue, Access::Declare).await? {
            return Err(failure);
        }
    }
    Ok(())
}

/// As `check_bindings`, for topic permissions, which RabbitMQ checks only if the exchange exists. So the
/// exchange is declared first, unless the queue might be refused, as a transient one might.
pub(super) async fn check_topic_permissions(
    topology: &mut TopologyChannel<'_>,
    bindings: &[&Binding],
    declarations: &BTreeMap<&str, QueueDeclaration>,
    survey: &mut Survey,
) -> Result<(), Failure> {
    let mut is_new = false;
    for binding in bindings {
        let declaration = declarations.get(binding.queue.as_str());
        let is_wanted = topology.link.version.is_some()
            && declaration.is_some_and(|declaration| declaration.lifetime.durable)
            && survey.exchanges.get(&binding.exchange) == Some(&ExchangeState::Missing);
        if is_wanted && may_declare(topology, &binding.queue, Access::Declare).await? {
            ensure_exchange(topology, &binding.exchange, survey).await?;
            is_new = true;
        }
    }
    if is_new { check_bindings(topology, bindings, survey).await } else { Ok(()) }
}

/// Declares a missing queue.
pub(super) async fn declare_missing_queue(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
    declaration: QueueDeclaration,
) -> Result<(), Failure> {
    let name = short("the queue's name", queue)?;
    let asked = declaration.arguments(topology.options, topology.expires);
    match topology.declare_new_queue(&name, declaration.options(), asked).await {
        Ok(()) => {
            let QueueDeclaration { lifetime: Lifetime { durable, .. }, queue_type, .. } =
                declaration;
            tracing::info!(queue, durable, ?queue_type, "declared the queue");
            // Without a type the virtual host decides.
            let is_known = queue_type != QueueType::Classic || !durable;
            let seen =
                if is_known { None } else { queue_properties(topology, queue, &name).await? };
            let seen = seen.unwrap_or_else(|| declaration.into());
            topology.broker.see_queue(queue, seen);
            Ok(())
        }
        // Another program has declared it meanwhile: it is used unchanged.
        Err(fault) if fault.is_mismatch() => inspect_queue(topology, queue).await.map(drop),
        Err(fault) => Err(mismatch(&fault, queue)
            .or_else(|| failure::no_transient_queue(&fault, queue, topology.options.dialect))
            .unwrap_or_else(|| topology.refused(fault, Operation::declare("queue", queue)))),
    }
}

/// Declares an exchange if the survey found it missing.
pub(super) async fn ensure_exchange(
    topology: &mut TopologyChannel<'_>,
    exchange: &str,
    survey: &mut Survey,
) -> Result<(), Failure> {
    match survey.exchanges.get(exchange) {
        Some(ExchangeState::Missing) => {}
        Some(ExchangeState::Refused(failure)) => return Err(failure.clone()),
        Some(
            ExchangeState::Visible(_) | ExchangeState::Hidden(_) | ExchangeState::Uninformative,
        )
        | None => return Ok(()),
    }
    let planned = survey.planned.get(exchange).copied();
    let lifetime =
        planned.unwrap_or_else(|| QueueDeclaration::from_options(topology.options).lifetime);
    let declared = declare_missing_exchange(topology, exchange, lifetime).await;
    let state = match &declared {
        Ok(()) => ExchangeState::Visible(lifetime),
        Err(failure) => ExchangeState::Refused(failure.clone()),
    };
    survey.exchanges.insert(exchange.to_owned(), state);
    declared
}

async fn declare_missing_exchange(
    topology: &mut TopologyChannel<'_>,
    exchange: &str,
    lifetime: Lifetime,
) -> Result<(), Failure> {
    let name = short("the exchange's name", exchange)?;
    match topology.declare_exchange(&name, exchange_options(lifetime)).await {
        Ok(()) => {
            tracing::info!(exchange, durable = lifetime.durable, "declared the exchange");
            topology.broker.see_exchange(exchange, lifetime);
            Ok(())
        }
        // Another program has declared it meanwhile: it is used unchanged.
        Err(fault) if fault.is_mismatch() => inspect_exchange(topology, exchange).await.map(drop),
        Err(fault) => Err(topology.refused(fault, Operation::declare("exchange", exchange))),
    }
}

/// Warns once for each driver that messages in transient queues are lost when the broker restarts.
pub(super) fn warn_of_transient<'q>(
    topology: &TopologyChannel<'_>,
    queues: impl IntoIterator<Item = &'q str>,
) {
    let is_transient = |queue: &&str| {
        topology.broker.queue(queue).is_some_and(|seen| seen.durable() == Some(false))
    };
    let transient: BTreeSet<_> = queues.into_iter().filter(is_transient).collect();
    if !transient.is_empty() && topology.broker.record_warning() {
        tracing::warn!(queues = ?transient, "{TRANSIENT}");
    }
}

pub(super) fn is_forbidden(failure: &Failure) -> bool {
    matches!(failure, Failure::Permanent(ConnectError::Forbidden { .. }))
}
