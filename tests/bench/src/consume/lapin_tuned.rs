//! lapin, tuned: a large prefetch, and one acknowledgement for every hundred deliveries. It has no order
//! of handlers, no retries, and no failure handling.

use futures_util::StreamExt;
use lapin::options::BasicAckOptions;

use crate::Error;
use crate::consume::lapin_consumer;
use crate::contender::Measured;
use crate::notification::decode;
use crate::tally::Tally;

pub(crate) async fn run(url: &str, messages: u64) -> Result<Measured, Error> {
    let tally = Tally::of(messages);
    let (connection, channel, mut consumer) = lapin_consumer(url, 1000).await?;
    let mut unacknowledged = 0;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let last = tally.handled(decode(&delivery.data)?.vcpus);
        unacknowledged += 1;
        if last || unacknowledged == 100 {
            channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await?;
            unacknowledged = 0;
        }
        if last {
            break;
        }
    }
    connection.close(200, "".into()).await?;
    tally.measured()
}
