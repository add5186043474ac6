//! What a queue or exchange is like, determined with declarations that RabbitMQ refuses whatever exists.
//! What each declaration asks for, and what its refusal means, is decided in `probe.rs` and
//! `single_active.rs`.

use lapin::options::ExchangeDeclareOptions;
use lapin::types::{FieldTable, ShortString};

use super::channel::{TopologyChannel, exchange_options, short};
use super::declaration::QueueDeclaration;
use super::probe::{self, Comparison, ExchangeProbe, ProbeStep, QueueProbe};
use super::properties::{Lifetime, QueueProperties};
use super::single_active::{SingleActiveConsumer, SingleActiveProbe};
use crate::drivers::rabbit::connection::failure::{Failure, Fault, Operation, mismatch};
use crate::transport::error::ConnectError;

/// Whether a queue exists before anything is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Existing,
    Missing,
}

/// What an inspection of an exchange has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExchangeState {
    /// It exists, with this lifetime.
    Visible(Lifetime),
    /// It exists, or the user may not even look for it. The broker shows its lifetime to users only who
    /// may declare it. The text of the refusal.
    Hidden(String),
    /// It exists, but its lifetime is no evidence: the broker declared it, or refusals do not show it.
    Uninformative,
    /// It is missing, and may be declared.
    Missing,
    /// It is missing, and its declaration was refused: another user has to declare it.
    Refused(Failure),
}

/// Whether a queue exists, and whether it is as the options ask. Its properties are recorded.
pub(super) async fn inspect_queue(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<Presence, Failure> {
    let name = short("the queue's name", queue)?;
    match topology.message_count(&name).await {
        Ok(_) => {}
        Err(fault) if fault.code() == Some(404) => return Ok(Presence::Missing),
        // The user may not inspect it, but perhaps consume it.
        Err(fault) if fault.code() == Some(403) => return Ok(Presence::Existing),
        Err(fault) => return Err(topology.refused(fault, Operation::look_for("queue", queue))),
    }
    if topology.options.chooses_queue_type() {
        match compare(topology, &name).await {
            Ok(()) => {}
            Err(fault) if fault.code() == Some(403) || is_about_expiry(&fault) => {}
            Err(fault) if probe::means_missing(&fault) => return Ok(Presence::Missing),
            Err(fault) => {
                return Err(mismatch(&fault, queue).unwrap_or_else(|| {
                    topology.refused(fault, Operation::declare("queue", queue))
                }));
            }
        }
    }
    let Some(seen) = queue_properties(topology, queue, &name).await? else {
        return Ok(Presence::Missing);
    };
    check_auto_delete(topology, queue, seen)?;
    topology.broker.see_queue(queue, seen);
    Ok(Presence::Existing)
}

/// Compares an existing queue with the options.
async fn compare(topology: &mut TopologyChannel<'_>, name: &ShortString) -> Result<(), Fault> {
    let declaration = QueueDeclaration::from_options(topology.options);
    // Other brokers may accept any argument.
    if topology.link.version.is_some() {
        let asked = declaration.arguments(topology.options, topology.expires);
        let asked = probe::with_refused_argument(asked);
        match topology.declare_queue(name, declaration.options(), asked).await {
            Err(fault) => match probe::comparison(&fault) {
                Comparison::Equal => return Ok(()),
                // Compared without the last argument below.
                Comparison::Undecided => {}
                Comparison::Different => return Err(fault),
            },
            Ok(()) => return Ok(()),
        }
    }
    let arguments = declaration.arguments(topology.options, topology.expires);
    topology.declare_queue(name, declaration.options(), arguments).await
}

/// The properties of an existing queue, from the refusals of declarations; none if it is deleted
/// meanwhile. Determined in each session, because a queue may have been replaced.
pub(super) async fn queue_properties(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
    name: &ShortString,
) -> Result<Option<QueueProperties>, Failure> {
    let mut probe = QueueProbe::new();
    loop {
        let (options, arguments) = probe.declaration();
        let declared = topology.declare_queue(name, options, arguments).await;
        let Err(fault) = declared else { return Ok(Some(probe.properties())) };
        if fault.code().is_none() {
            return Err(topology.refused(fault, Operation::look_for("queue", queue)));
        }
        match probe.refused(&fault) {
            ProbeStep::Repeat => {}
            ProbeStep::Done(seen) => return Ok(seen),
        }
    }
}

/// Compares the only option that may be given while the others follow what exists.
fn check_auto_delete(
    topology: &TopologyChannel<'_>,
    queue: &str,
    seen: QueueProperties,
) -> Result<(), Failure> {
    let (Some(asked), Some(found)) = (topology.options.amqp_auto_delete, seen.lifetime) else {
        return Ok(());
    };
    if asked == found.auto_delete {
        return Ok(());
    }
    let value = found.auto_delete;
    Err(Failure::Permanent(ConnectError::Mismatch {
        what: format!("queue {queue:?}"),
        difference: format!("auto_delete was requested to be {asked}, and is {value}"),
    }))
}

/// What an exchange is like. RabbitMQ checks the permission to declare it first, even if it is missing.
pub(super) async fn inspect_exchange(
    topology: &mut TopologyChannel<'_>,
    exchange: &str,
) -> Result<ExchangeState, Failure> {
    if exchange.is_empty() || exchange.starts_with("amq.") {
        return Ok(ExchangeState::Uninformative);
    }
    let name = short("the exchange's name", exchange)?;
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let exists = match topology.declare_exchange(&name, passive).await {
        Ok(()) => true,
        Err(fault) if fault.code() == Some(404) => false,
        Err(Fault::Broker { code: 403, text }) => return Ok(ExchangeState::Hidden(text)),
        Err(fault) => {
            return Err(topology.refused(fault, Operation::look_for("exchange", exchange)));
        }
    };
    let arguments = match topology.link.version {
        Some(_) => ExchangeProbe::arguments(),
        // Other brokers may accept any argument.
        None if exists => FieldTable::default(),
        None => return Ok(ExchangeState::Missing),
    };
    let mut probe = ExchangeProbe::new(topology.options);
    loop {
        let (kind, options) = (probe.kind.clone(), exchange_options(probe.lifetime));
        let declared = topology.declare_exchange_of(kind, &name, options, arguments.clone()).await;
        let Err(fault) = declared else { break };
        if probe.refused(&fault) {
            continue;
        }
        if ExchangeProbe::concerns_other_argument(&fault) {
            break;
        }
        return match (fault.code(), fault) {
            (_, Fault::Broker { code: 403, text }) if exists => Ok(ExchangeState::Hidden(text)),
            (Some(403), fault) => Ok(ExchangeState::Refused(
                topology.refused(fault, Operation::declare("exchange", exchange)),
            )),
            (Some(406), fault) if !exists || ExchangeProbe::means_missing(&fault) => {
                Ok(ExchangeState::Missing)
            }
            (Some(406), _) => Ok(ExchangeState::Uninformative),
            (_, fault) => Err(topology.refused(fault, Operation::look_for("exchange", exchange))),
        };
    }
    topology.broker.see_exchange(exchange, probe.lifetime);
    Ok(ExchangeState::Visible(probe.lifetime))
}

/// Whether a queue has a single active consumer. It is unknown if the user may not declare the queue.
/// Determined in each session, because a queue may have been replaced.
pub(crate) async fn single_active_consumer(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<SingleActiveConsumer, Failure> {
    let name = short("the queue's name", queue)?;
    let declaration = match topology.broker.queue(queue) {
        Some(seen) => QueueDeclaration::same_as(seen, topology.options),
        None => QueueDeclaration::from_options(topology.options),
    };
    let options = declaration.options();
    let mut probe =
        SingleActiveProbe::new(options, &declaration.arguments(topology.options, topology.expires));
    loop {
        let (options, arguments) = probe.declaration();
        let declared = topology.declare_queue(&name, options, arguments).await;
        let Err(fault) = declared else { return Ok(SingleActiveConsumer::Unknown) };
        match probe.refused(&fault) {
            ProbeStep::Repeat => {}
            ProbeStep::Done(SingleActiveConsumer::Unknown) if fault.code().is_none() => {
                return Err(topology.refused(fault, Operation::look_for("queue", queue)));
            }
            ProbeStep::Done(single_active) => return Ok(single_active),
        }
    }
}

/// Records the properties of a quarantine queue, which may have a delivery limit. Whether it exists.
pub(crate) async fn record_quarantine_queue(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<bool, Failure> {
    let name = short("the quarantine queue's name", queue)?;
    let Some(seen) = queue_properties(topology, queue, &name).await? else { return Ok(false) };
    topology.broker.see_queue(queue, seen);
    Ok(true)
}

/// Whether the refusal is about `x-expires`, which is not compared with an existing queue's.
fn is_about_expiry(fault: &Fault) -> bool {
    fault.refusal().is_some_and(|refusal| refusal.argument() == Some("x-expires"))
}
