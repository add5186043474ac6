//! The queues, exchanges and bindings that a listener consumes: declared where they are missing, and
//! checked. Called for each new session, before `consuming/session.rs` attaches consumers.

use std::collections::HashSet;

use super::channel::TopologyChannel;
use super::declare::{
    check_bindings, check_topic_permissions, declare_missing_queue, ensure_exchange, is_forbidden,
    warn_of_transient,
};
use super::delivery_limit;
use super::inspect::Presence;
use super::persistence::persisted_quorum;
use super::properties::QueueType;
use super::survey::{declarations, missing_exchange, survey};
use crate::drivers::rabbit::connection::failure::Failure;
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// Declares and binds what is missing, and checks the rest.
pub(crate) async fn declare(
    topology: &mut TopologyChannel<'_>,
    bindings: &[Binding],
) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    let bindings: Vec<_> = bindings.iter().filter(|binding| seen.insert(*binding)).collect();
    topology.broker.consumes(bindings.iter().map(|binding| &binding.queue));
    let mut survey = survey(topology, &bindings).await?;
    // Other brokers may look for the queue before they check permissions.
    if topology.link.version.is_some() {
        check_bindings(topology, &bindings, &survey).await?;
    }
    let declarations = declarations(topology, &bindings, &survey).await?;
    check_topic_permissions(topology, &bindings, &declarations, &mut survey).await?;
    // The queues first: if one is refused, no exchange has been declared for it.
    for (queue, declaration) in &declarations {
        declare_missing_queue(topology, queue, *declaration).await?;
    }
    for binding in &bindings {
        persisted_quorum(topology, &binding.queue).await?;
    }
    let mut missing = None;
    for binding in &bindings {
        let found = survey.queue(&binding.queue);
        // Checked for consumers only: publishers lose nothing by a low limit.
        check_queue(topology, &binding.queue)?;
        let exchange = ensure_exchange(topology, &binding.exchange, &mut survey).await;
        let is_missing = exchange.as_ref().is_err_and(is_forbidden);
        // Another user has declared and bound a queue that this user may not declare.
        let belongs_to_another_user =
            found == Presence::Existing && !topology.may_have_declared(&binding.queue);
        let bound = match exchange {
            Ok(()) => topology.bind(binding).await,
            Err(failure) if is_missing && !belongs_to_another_user => {
                // The other queues are bound, and receive messages meanwhile.
                missing.get_or_insert_with(|| missing_exchange(failure, &binding.exchange));
                continue;
            }
            failed => failed,
        };
        match bound {
            Err(Failure::Permanent(error @ ConnectError::Forbidden { .. }))
                if found == Presence::Existing =>
            {
                tracing::warn!(
                    queue = binding.queue,
                    exchange = binding.exchange,
                    routing_key = binding.routing_key,
                    %error,
                    "the queue may not be bound; it is used with its existing bindings"
                );
            }
            other => other?,
        }
    }
    if let Some(failure) = missing {
        return Err(failure);
    }
    warn_of_transient(topology, bindings.iter().map(|binding| binding.queue.as_str()));
    Ok(())
}

/// Refuses a stream, and a quorum queue with a low delivery limit. If the user may not declare the
/// queue, its properties are unknown, and it is accepted.
fn check_queue(topology: &TopologyChannel<'_>, queue: &str) -> Result<(), Failure> {
    let Some(seen) = topology.broker.queue(queue) else { return Ok(()) };
    if seen.queue_type == Some(QueueType::Stream) {
        return Err(Failure::Permanent(ConnectError::UnsuitableQueue {
                queue: queue.to_owned(),
                problem: "is a stream".to_owned(),
                fix: "expected a classic or quorum queue: declare it as one, or choose another topic or pool"
                    .to_owned(),
            }));
    }
    let allowed = topology.options.allow_low_delivery_limit;
    let check = |limit| delivery_limit::check(queue, limit, topology.link.version, allowed);
    seen.limits.deliveries.map_or(Ok(()), check)
}
