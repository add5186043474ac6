//! lapin with a given number of outstanding confirms; with one, each is awaited before the next message.
//! The driver fills its queue with it, too.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::Error;
use crate::broker::{EXCHANGE, QUEUE};
use crate::contender::Measured;
use crate::notification::Writer;
use crate::tally::Tally;

pub(crate) async fn run(url: &str, messages: u64, window: usize) -> Result<Measured, Error> {
    let (connection, channel) = connected(url).await?;
    let writer = Writer::new();
    send(&channel, &writer, 1, 1).await?;
    let tally = Tally::of(messages);
    tally.begin();
    send(&channel, &writer, messages, window).await?;
    let measured = tally.measured();
    connection.close(200, "".into()).await?;
    measured
}

pub(crate) async fn connected(url: &str) -> Result<(Connection, Channel), Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Returns when all are confirmed.
pub(crate) async fn send(
    channel: &Channel,
    writer: &Writer,
    messages: u64,
    window: usize,
) -> Result<(), Error> {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2);
    let mut unconfirmed = FuturesUnordered::new();
    for index in 0..messages {
        let body = writer.body(index)?;
        // The routing key is the name of the queue, as in oslo.messaging.
        let sent = channel.basic_publish(
            EXCHANGE.into(),
            QUEUE.into(),
            BasicPublishOptions::default(),
            &body,
            properties.clone(),
        );
        unconfirmed.push(sent.await?);
        if unconfirmed.len() >= window {
            confirmed(unconfirmed.next().await)?;
        }
    }
    while !unconfirmed.is_empty() {
        confirmed(unconfirmed.next().await)?;
    }
    Ok(())
}

fn confirmed(confirmation: Option<lapin::Result<Confirmation>>) -> Result<(), Error> {
    match confirmation {
        Some(Ok(Confirmation::Ack(None))) => Ok(()),
        other => Err(format!("not confirmed: {other:?}").into()),
    }
}
