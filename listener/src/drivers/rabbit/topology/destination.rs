//! What must exist before a message is published: exchange and queue of a topic, a work or dead-letter
//! queue, a quarantine queue, a journal, a retry queue. `publishing/session.rs` calls one of these once
//! for each destination and session.

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};

use super::broker_state::Feature;
use super::channel::{TopologyChannel, short};
use super::declaration::QueueDeclaration;
use super::declare::{
    check_bindings, check_topic_permissions, declare_missing_queue, ensure_exchange, is_forbidden,
    warn_of_transient,
};
use super::inspect::{ExchangeState, Presence};
use super::persistence::{persisted, persisted_own, persisted_quorum};
use super::properties::QueueType;
use super::retry_queue::{Level, RetryQueueType};
use super::side_queue;
use super::survey::{Survey, TopicSurvey, declarations, survey_topic};
use crate::drivers::rabbit::connection::failure::{Failure, Operation, no_default_exchange};
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
    let TopicSurvey { mut survey, queue } = survey_topic(topology, binding).await?;
    if let Some(ExchangeState::Refused(failure)) = survey.exchanges.get(&binding.exchange) {
        return Err(failure.clone());
    }
    let queue = match queue {
        Ok(Presence::Missing) => missing_queue(topology, binding, &mut survey).await,
        queue => queue.map(drop),
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

/// Declares the missing queue of a binding, but only if it may also be bound: a listener that finds the
/// queue assumes that it is bound.
async fn missing_queue(
    topology: &mut TopologyChannel<'_>,
    binding: &Binding,
    survey: &mut Survey,
) -> Result<(), Failure> {
    if topology.link.version.is_some() {
        check_bindings(topology, &[binding], survey).await?;
    }
    let declarations = declarations(topology, &[binding], survey).await?;
    check_topic_permissions(topology, &[binding], &declarations, survey).await?;
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
        let types = side_queue::dead_letter_types(topology.options);
        return ensure_side_queue(topology, &name, SideQueue::of_types(topology, queue, types))
            .await;
    };
    match topology.message_count(&name).await {
        Err(fault) if fault.code() == Some(404) && topology.broker.is_consumed(queue) => {
            Err(Failure::transient(format!(
                "queue {queue:?} has vanished, and its consumer has not declared it again yet"
            )))
        }
        Err(fault) if fault.code() == Some(404) => {
            declare_missing_queue(
                topology,
                queue,
                QueueDeclaration::same_as(seen, topology.options),
            )
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
    let types = side_queue::quarantine_types(topology.link.version);
    ensure_side_queue(topology, &name, SideQueue::of_types(topology, queue, types)).await?;
    persisted(topology, queue).await;
    Ok(())
}

/// A journal: a stream queue.
pub(crate) async fn journal(
    topology: &mut TopologyChannel<'_>,
    journal: &str,
) -> Result<(), Failure> {
    let name = short("the journal's name", journal)?;
    let stream = SideQueue::of_types(topology, journal, &[QueueType::Stream]);
    ensure_side_queue(topology, &name, stream).await?;
    persisted_own(topology, journal).await;
    Ok(())
}

/// A queue, and its retry queue for this level of delay.
pub(crate) async fn retry_queue(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
    level: Level,
) -> Result<(), Failure> {
    ensure_queue(topology, queue).await?;
    let retry = level.queue(queue);
    let name = short("the retry queue's name", &retry)?;
    let has_quorum = topology.broker.has(Feature::QuorumQueues);
    let types = RetryQueueType::choices(topology.link.version, has_quorum);
    let candidate =
        |of_type: &RetryQueueType| (of_type.queue_type(), of_type.arguments(queue, level));
    let candidates = types.iter().map(candidate).collect();
    let own = SideQueue { queue: &retry, candidates, is_for_copies: true };
    ensure_side_queue(topology, &name, own).await?;
    // Both are persisted at the same time.
    persisted(topology, &retry).await;
    persisted(topology, queue).await;
    Ok(())
}

/// A side queue: only listeners declare it.
struct SideQueue<'q> {
    queue: &'q str,
    /// The types and arguments with which it may be declared, in order of preference.
    candidates: Vec<(QueueType, FieldTable)>,
    /// Only listeners publish to it, once it is persisted.
    is_for_copies: bool,
}

impl<'q> SideQueue<'q> {
    fn of_types(topology: &TopologyChannel<'_>, queue: &'q str, types: &[QueueType]) -> Self {
        let version = topology.link.version;
        let candidate =
            |queue_type: &QueueType| (*queue_type, side_queue::arguments(*queue_type, version));
        let candidates = types.iter().map(candidate).collect();
        Self { queue, candidates, is_for_copies: is_for_copies(queue) }
    }
}

/// Declares a missing queue as the first of its candidates that the broker accepts. An existing queue is
/// used unchanged.
async fn ensure_side_queue(
    topology: &mut TopologyChannel<'_>,
    name: &ShortString,
    own: SideQueue<'_>,
) -> Result<(), Failure> {
    let SideQueue { queue, candidates, is_for_copies } = own;
    let mut last = match topology.message_count(name).await {
        Ok(messages) => {
            if messages > 0 && is_for_copies {
                topology.broker.record_message(queue);
            }
            return Ok(());
        }
        Err(fault) if fault.code() == Some(404) => fault,
        Err(fault) => return Err(topology.refused(fault, Operation::look_for("queue", queue))),
    };
    topology.broker.record_missing(queue);
    let broker = topology.broker;
    // A disabled type is not declared again, because the refusal ends the connection.
    let is_enabled = |queue_type: QueueType| {
        side_queue::feature(queue_type).is_none_or(|feature| broker.has(feature))
    };
    let types: Vec<_> = candidates.iter().map(|(queue_type, _)| *queue_type).collect();
    let mut left = candidates.into_iter().filter(|candidate| is_enabled(candidate.0)).peekable();
    if left.peek().is_none() {
        return Err(Failure::Permanent(ConnectError::Refused {
            action: format!("declare queue {queue:?}"),
            reason: format!(
                "the feature flag of {types:?} queues is disabled; enable it with `rabbitmqctl enable_feature_flag`, and start this process again"
            ),
        }));
    }
    while let Some((queue_type, arguments)) = left.next() {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match topology.declare_new_queue(name, options, arguments).await {
            Ok(()) => {
                tracing::info!(queue, ?queue_type, "declared the queue");
                return Ok(());
            }
            Err(fault) if fault.is_mismatch() => return Ok(()),
            Err(fault) => {
                if let Some(feature) = side_queue::disabled_feature(queue_type, &fault) {
                    broker.disable(feature);
                    // The connection has ended: the next type is declared over the next one.
                    if left.peek().is_some() {
                        return Err(fault.into());
                    }
                }
                last = fault;
            }
        }
        // Another type does not help without a permission or without an answer.
        if matches!(last.code(), None | Some(403)) {
            break;
        }
    }
    Err(match no_default_exchange(&last, &topology.link.user) {
        Some(error) => Failure::Permanent(error),
        None => topology.refused(last, Operation::declare("queue", queue)),
    })
}

/// Whether only listeners publish to a queue of this name, once it is persisted.
fn is_for_copies(queue: &str) -> bool {
    [dead_letter_queue(""), quarantine_queue("")].iter().any(|end| queue.ends_with(end.as_str()))
}
