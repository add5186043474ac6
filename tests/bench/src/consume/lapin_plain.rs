//! lapin as in its examples: each delivery is acknowledged, and that is awaited.

use futures_util::StreamExt;
use lapin::options::BasicAckOptions;

use crate::Error;
use crate::consume::lapin_consumer;
use crate::contender::Measured;
use crate::notification::decode;
use crate::tally::Tally;

pub(crate) async fn run(url: &str, messages: u64) -> Result<Measured, Error> {
    let tally = Tally::of(messages);
    let (connection, _channel, mut consumer) = lapin_consumer(url, 100).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let last = tally.handled(decode(&delivery.data)?.vcpus);
        delivery.ack(BasicAckOptions::default()).await?;
        if last {
            break;
        }
    }
    connection.close(200, "".into()).await?;
    tally.measured()
}
