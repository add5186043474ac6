//! The consumers, one per file. Each decodes every message to an `Instance`, adds up its `vcpus`,
//! acknowledges all, closes its connection, and stops the clock.

pub(crate) mod amqprs;
pub(crate) mod lapin_batch;
pub(crate) mod lapin_plain;
pub(crate) mod lapin_tuned;
pub(crate) mod ours;
pub(crate) mod ruststream;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, Consumer};

use crate::Error;
use crate::broker::QUEUE;

async fn lapin_consumer(
    url: &str,
    prefetch: u16,
) -> Result<(Connection, lapin::Channel, Consumer), Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer =
        channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    Ok((connection, channel, consumer))
}
