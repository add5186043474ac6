//! amqprs, another client of RabbitMQ: one acknowledgement for each hundred deliveries.

use amqprs::channel::{BasicAckArguments, BasicConsumeArguments, BasicQosArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};

use crate::Error;
use crate::broker::{QUEUE, port};
use crate::contender::Measured;
use crate::notification::decode;
use crate::tally::Tally;

pub(crate) async fn run(url: &str, messages: u64) -> Result<Measured, Error> {
    let tally = Tally::of(messages);
    let arguments = OpenConnectionArguments::new("127.0.0.1", port(url)?, "guest", "guest");
    let connection = Connection::open(&arguments).await?;
    let channel = connection.open_channel(None).await?;
    channel.basic_qos(BasicQosArguments::new(0, 300, false)).await?;
    let arguments = BasicConsumeArguments::new(QUEUE, "bench");
    let (_tag, mut deliveries) = channel.basic_consume_rx(arguments).await?;
    let mut unacknowledged = 0;
    while let Some(message) = deliveries.recv().await {
        let body = message.content.ok_or("a delivery without a body")?;
        let last = tally.handled(decode(&body)?.vcpus);
        unacknowledged += 1;
        if last || unacknowledged == 100 {
            let deliver = message.deliver.ok_or("a delivery without a tag")?;
            channel.basic_ack(BasicAckArguments::new(deliver.delivery_tag(), true)).await?;
            unacknowledged = 0;
        }
        if last {
            break;
        }
    }
    channel.close().await?;
    connection.close().await?;
    tally.measured()
}
