//! What must exist before a message is published: exchange and queue of a topic, a work or dead-letter
//! queue, a quarantine queue, a journal, a retry queue. `publishing/session.rs` calls one of these once
//! for each destination and session.

use lapin::options::QueueDeclareOptions;
use lapin::types::ShortString;

use super::broker_state::Feature;
use super::channel::{TopologyChannel, short};
use super::declaration::QueueDeclaration;
use super::declare::{
    check_bindings, check_topics, declare_missing_queue, ensure_exchange, is_forbidden,
    warn_of_transient,
};
use super::inspect::{ExchangeState, Presence};
use super::persistence::{persisted, persisted_own, persisted_quorum};
use super::retry_queue::{Level, RetryQueue};
use super::side_queue::{self, QueueType};
use super::survey::{Survey, declarations, survey_one};
use crate::drivers::rabbit::connection::failure::{self, Failure, Operation};
use crate::target::{dead_letter_queue, quarantine_queue};
use crate::transport::driver::Binding;
use crate::transport::error::ConnectError;

/// The exchange of a topic, and the queue named as the routing key. If this queue may not be declared or
/// bound, the exchange may still route to others: the refusal is returned, for the case that it does
/// not.
pub(crate) async fn topic(
    topology: &mut TopologyChannel<'_>,
    exchange: &str,
    routing_key: &str,
) -> Result<Option<ConnectError>, Failure> {
    let binding = Binding {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        queue: routing_key.to_owned(),
    };
    let ready = exchange_and_queue(topology, &binding).await?;
    warn_of_transient(topology, [routing_key]);
    match ready {
        Ok(()) => {
            persisted_own(topology, routing_key).await;
            persisted_quorum(topology, routing_key).await?;
            Ok(None)
        }
        Err(Failure::Permanent(error @ ConnectError::Forbidden { .. })) => Ok(Some(error)),
        Err(failure) => Err(failure),
    }
}

/// Declares an exchange and a queue bound to it. The inner result is that of the queue: the exchange is
/// declared even if the user may not declare the queue.
async fn exchange_and_queue(
    topology: &mut TopologyChannel<'_>,
    binding: &Binding,
) -> Result<Result<(), Failure>, Failure> {
    let (mut survey, looked) = survey_one(topology, binding).await?;
    if let Some(ExchangeState::Refused(failure)) = survey.exchanges.get(&binding.exchange) {
        return Err(failure.clone());
    }
    let queue = match looked {
        Ok(Presence::Missing) => missing_queue(topology, binding, &mut survey).await,
        looked => looked.map(drop),
    };
    if queue.as_ref().is_err_and(|failure| !is_forbidden(failure)) {
        return Ok(queue);
    }
    ensure_exchange(topology, &binding.exchange, &mut survey).await?;
    Ok(match queue {
        Ok(()) => topology.bind(binding).await,
        refused => refused,
    })
}

/// Declares the queue of a binding if it may be bound as well: a listener would consider it bound.
async fn missing_queue(
    topology: &mut TopologyChannel<'_>,
    binding: &Binding,
    survey: &mut Survey,
) -> Result<(), Failure> {
    if topology.link.version.is_some() {
        check_bindings(topology, &[binding], survey).await?;
    }
    let declarations = declarations(topology, &[binding], survey).await?;
    check_topics(topology, &[binding], &declarations, survey).await?;
    for (queue, declaration) in declarations {
        declare_missing_queue(topology, queue, declaration).await?;
    }
    Ok(())
}

/// A queue to which messages are published through the default exchange, such as a dead-letter queue:
/// durable whatever the options are, because its messages must not be lost. If another program's queue
/// has vanished, it is declared as it was; one that is consumed here is left to its consumer, which
/// binds it as well.
pub(crate) async fn queue(topology: &mut TopologyChannel<'_>, queue: &str) -> Result<(), Failure> {
    ensure_queue(topology, queue).await?;
    persisted(topology, queue).await;
    Ok(())
}

/// As `queue`, without the wait until it is persisted.
async fn ensure_queue(topology: &mut TopologyChannel<'_>, queue: &str) -> Result<(), Failure> {
    let name = short("the queue's name", queue)?;
    let Some(seen) = topology.broker.queue(queue) else {
        let types = side_queue::dead_letters(topology.options);
        return declare_first_of(topology, &name, queue, types).await;
    };
    match topology.message_count(&name).await {
        Err(fault) if fault.code() == Some(404) && topology.broker.is_consumed(queue) => {
            Err(Failure::transient(format!(
                "queue {queue:?} has vanished, and its consumer has not declared it again yet"
            )))
        }
        Err(fault) if fault.code() == Some(404) => {
            declare_missing_queue(topology, queue, QueueDeclaration::like(seen, topology.options))
                .await
        }
        Ok(_) => Ok(()),
        Err(fault) => Err(topology.refused(fault, Operation::look_for("queue", queue))),
    }
}

/// A quarantine queue: a quorum queue where the broker has them, so that it survives the loss of a node.
/// An existing queue is used unchanged.
pub(crate) async fn quarantine(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<(), Failure> {
    let name = short("the quarantine queue's name", queue)?;
    let types = side_queue::types(topology.link.version);
    declare_first_of(topology, &name, queue, types).await?;
    persisted(topology, queue).await;
    Ok(())
}

/// A journal: a stream queue.
pub(crate) async fn journal(
    topology: &mut TopologyChannel<'_>,
    journal: &str,
) -> Result<(), Failure> {
    let name = short("the journal's name", journal)?;
    declare_first_of(topology, &name, journal, &[QueueType::Stream]).await?;
    persisted_own(topology, journal).await;
    Ok(())
}

/// Declares a missing queue with the first of these types that the broker accepts.
async fn declare_first_of(
    topology: &mut TopologyChannel<'_>,
    name: &ShortString,
    queue: &str,
    types: &[QueueType],
) -> Result<(), Failure> {
    let mut last = match topology.message_count(name).await {
        Ok(messages) => {
            if messages > 0 && is_for_copies(queue) {
                topology.broker.record_message(queue);
            }
            return Ok(());
        }
        Err(fault) if fault.code() == Some(404) => fault,
        Err(fault) => return Err(topology.refused(fault, Operation::look_for("queue", queue))),
    };
    topology.broker.record_missing(queue);
    // A disabled type is not declared again, because the refusal ends the connection.
    let broker = topology.broker;
    let is_enabled =
        |queue_type: QueueType| queue_type.feature().is_none_or(|feature| broker.has(feature));
    let mut left = types.iter().copied().filter(|side| is_enabled(*side)).peekable();
    if left.peek().is_none() {
        return Err(Failure::Permanent(ConnectError::Refused {
            action: format!("declare queue {queue:?}"),
            reason: format!(
                "the feature flag of {types:?} queues is disabled; enable it with `rabbitmqctl enable_feature_flag`, and start this process again"
            ),
        }));
    }
    while let Some(side) = left.next() {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let arguments = side.arguments(topology.link.version);
        match topology.declare_new_queue(name, options, arguments).await {
            Ok(()) => {
                tracing::info!(queue, ?side, "declared the queue");
                return Ok(());
            }
            Err(fault) if fault.is_mismatch() => return Ok(()),
            Err(fault) => {
                if let Some(feature) = side.disabled_feature(&fault) {
                    broker.disable(feature);
                    // The connection has ended: the next type is declared over the next one.
                    if left.peek().is_some() {
                        return Err(fault.into());
                    }
                }
                last = fault;
            }
        }
        if matches!(last.code(), None | Some(403)) {
            break;
        }
    }
    Err(topology.refused(last, Operation::declare("queue", queue)))
}

/// A queue, and its retry queue for this level of delay.
pub(crate) async fn retry_queue(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
    level: Level,
) -> Result<(), Failure> {
    ensure_queue(topology, queue).await?;
    let retry = level.queue(queue);
    ensure_retry_queue(topology, queue, &retry, level).await?;
    // Both are persisted at the same time.
    persisted(topology, &retry).await;
    persisted(topology, queue).await;
    Ok(())
}

/// Declares the retry queue `retry` of `queue`.
async fn ensure_retry_queue(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
    retry: &str,
    level: Level,
) -> Result<(), Failure> {
    let name = short("the retry queue's name", retry)?;
    let has_quorum = topology.broker.has(Feature::QuorumQueues);
    let kinds = RetryQueue::choices(topology.link.version, has_quorum);
    let mut last = match topology.message_count(&name).await {
        Err(fault) if fault.code() == Some(404) => fault,
        Ok(messages) => {
            if messages > 0 {
                topology.broker.record_message(retry);
            }
            return Ok(());
        }
        Err(fault) => return Err(topology.refused(fault, Operation::look_for("queue", retry))),
    };
    topology.broker.record_missing(retry);
    for kind in kinds {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let arguments = kind.arguments(queue, level);
        match topology.declare_new_queue(&name, options, arguments).await {
            Ok(()) => {
                tracing::info!(queue = retry, ?kind, "declared the retry queue");
                return Ok(());
            }
            Err(fault) if fault.is_mismatch() => return Ok(()),
            Err(fault) => {
                if *kind == RetryQueue::Quorum && fault.is_disabled_feature() {
                    topology.broker.disable(Feature::QuorumQueues);
                }
                last = fault;
                // Another type does not help without a permission or without an answer.
                if matches!(last.code(), None | Some(403)) {
                    break;
                }
            }
        }
    }
    Err(match failure::no_default_exchange(&last, &topology.link.user) {
        Some(error) => Failure::Permanent(error),
        None => topology.refused(last, Operation::declare("queue", retry)),
    })
}

/// Whether only listeners publish to a queue of this name, once it is persisted.
fn is_for_copies(queue: &str) -> bool {
    [dead_letter_queue(""), quarantine_queue("")].iter().any(|end| queue.ends_with(end.as_str()))
}
