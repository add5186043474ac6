//! What a user may do with queues, determined with requests that RabbitMQ refuses after it has checked
//! the permissions, so that nothing is declared, consumed or published.

use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};

use super::channel::{TopologyChannel, short};
use crate::drivers::rabbit::connection::channel::call;
use crate::drivers::rabbit::connection::failure::{self, Failure, Fault, Operation};

/// What a user is to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Declare,
    /// To declare a queue whose messages the broker dead-letters: this requires to read it as well.
    DeclareAndDeadLetter,
}

/// Whether the user has this access to a queue. One that exists counts as allowed, because it need not
/// be declared, unless the user may not even inspect it.
pub(crate) async fn may_declare(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
    access: Access,
) -> Result<bool, Failure> {
    let name = short("the queue's name", queue)?;
    let arguments = refused_arguments(access);
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    match topology.declare_queue(&name, options, arguments).await {
        // Checked last, and by `may_publish` on its own.
        Err(fault) if failure::no_default_exchange(&fault, &topology.link.user).is_some() => {
            Ok(true)
        }
        Err(fault) if fault.code() == Some(403) => topology.exists(queue).await,
        Err(fault) if fault.code().is_none() => Err(fault.into()),
        Ok(()) | Err(_) => Ok(true),
    }
}

/// Whether the user may publish to the default exchange; none if it cannot be determined. RabbitMQ
/// checks it when a queue that dead-letters to this exchange is declared. The queue `missing` must not
/// exist.
pub(crate) async fn may_publish(
    topology: &mut TopologyChannel<'_>,
    missing: &str,
) -> Result<Option<bool>, Failure> {
    let name = short("the queue's name", missing)?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    match topology
        .declare_queue(&name, options, refused_arguments(Access::DeclareAndDeadLetter))
        .await
    {
        Err(fault) if failure::no_default_exchange(&fault, &topology.link.user).is_some() => {
            Ok(Some(false))
        }
        Err(fault) if fault.code() == Some(403) => Ok(None),
        Err(fault) if fault.code().is_none() => Err(fault.into()),
        Ok(()) | Err(_) => Ok(Some(true)),
    }
}

/// Refuses a queue that the user may not consume.
pub(crate) async fn check_readable(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<(), Failure> {
    match refusal_to_consume(topology, queue).await? {
        Some(fault) => Err(topology.refused(fault, Operation::consume(queue))),
        None => Ok(()),
    }
}

/// Whether the user may consume a queue, if it exists.
pub(crate) async fn may_read(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<bool, Failure> {
    let refusal = refusal_to_consume(topology, queue).await?;
    Ok(refusal.is_none_or(|fault| fault.code() != Some(403)))
}

/// Why a queue cannot be consumed.
async fn refusal_to_consume(
    topology: &mut TopologyChannel<'_>,
    queue: &str,
) -> Result<Option<Fault>, Failure> {
    // Other brokers may accept the argument.
    if topology.link.version.is_none() {
        return Ok(None);
    }
    let name = short("the queue's name", queue)?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-priority".into(), AMQPValue::LongString(LongString::from("?")));
    let channel = topology.channel().await?;
    let options = BasicConsumeOptions::default();
    match call(channel.basic_consume(name, "".into(), options, arguments)).await {
        // The channel cancels the consumer, and requeues its deliveries.
        Ok(_) => topology.discard(),
        Err(fault) if fault.code() == Some(406) => {}
        Err(fault) => return Ok(Some(fault)),
    }
    Ok(None)
}

/// Arguments of a queue that RabbitMQ refuses after it has checked the permissions; for dead-lettering also
/// those to read the queue and to publish its messages to the default exchange.
fn refused_arguments(access: Access) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(0));
    if access == Access::DeclareAndDeadLetter {
        let default_exchange = AMQPValue::LongString(LongString::from(""));
        arguments.insert("x-dead-letter-exchange".into(), default_exchange);
    }
    arguments
}
