//! lapin, by hand, in batches of a hundred: they are collected, decoded, handled in one call, and acknowledged
//! together. There is no timeout, so the number of messages must be a multiple of the size.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;

use crate::Error;
use crate::consume::lapin_consumer;
use crate::contender::Measured;
use crate::notification::{Instance, decode};
use crate::tally::Tally;

const SIZE: usize = 100;

fn handle(tally: &Tally, batch: &[Instance]) {
    for instance in batch {
        tally.handled(instance.vcpus);
    }
}

pub(crate) async fn run(url: &str, messages: u64) -> Result<Measured, Error> {
    let tally = Tally::of(messages);
    let (connection, channel, mut consumer) = lapin_consumer(url, 1000).await?;
    let mut waiting: Vec<Delivery> = Vec::with_capacity(SIZE);
    let mut left = messages;
    while left > 0 {
        let Some(delivery) = consumer.next().await else { break };
        waiting.push(delivery?);
        left -= 1;
        if waiting.len() < SIZE && left > 0 {
            continue;
        }
        let batch: Result<Vec<Instance>, _> =
            waiting.iter().map(|delivery| decode(&delivery.data)).collect();
        handle(&tally, &batch?);
        if let Some(last) = waiting.last() {
            channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true }).await?;
        }
        waiting.clear();
    }
    connection.close(200, "".into()).await?;
    tally.measured()
}
