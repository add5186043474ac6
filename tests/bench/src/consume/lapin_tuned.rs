//! lapin at its best: a large prefetch, and one acknowledgement for each hundred deliveries. It
//! keeps no order among handlers, retries nothing, and knows no failure but its own end.

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
