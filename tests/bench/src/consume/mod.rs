//! The consumers, one per file. Each decodes every message to an `Instance`, adds up its `vcpus`,
//! acknowledges all, closes its connection, and stops the clock.

pub(crate) mod amqprs;
pub(crate) mod lapin_batch;
pub(crate) mod lapin_plain;
pub(crate) mod lapin_tuned;
pub(crate) mod ours;
pub(crate) mod ruststream;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, Consumer};

use crate::Error;
use crate::broker::QUEUE;

/// Connects, with the CA of the broker if the URL names one.
async fn connect(url: &str) -> Result<Connection, Error> {
    let (url, ca) = url.split_once("?cacertfile=").unwrap_or((url, ""));
    let cert_chain = if ca.is_empty() { None } else { Some(std::fs::read_to_string(ca)?) };
    let config = OwnedTLSConfig { identity: None, cert_chain };
    let runtime = lapin::runtime::default_runtime()?;
    let properties = ConnectionProperties::default();
    Ok(Connection::connect_with_config(url, properties, config, runtime).await?)
}

async fn lapin_consumer(
    url: &str,
    prefetch: u16,
) -> Result<(Connection, lapin::Channel, Consumer), Error> {
    let connection = connect(url).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer =
        channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    Ok((connection, channel, consumer))
}
