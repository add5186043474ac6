//! lapin 4.12 forgets a consumer whose `basic_consume` future is dropped before the broker has answered:
//! the broker then delivers to a consumer that nobody reads and nobody cancels. A consumer that is
//! dropped after the answer is cancelled by lapin. So the request runs in a task of its own, which
//! receives the answer in any case. `tests/rabbit/workarounds.rs` fails once lapin cancels it.

use lapin::options::BasicConsumeOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::task::JoinHandle;

/// Starts a consumer. The handle may be dropped: the task goes on, and drops the consumer.
pub(crate) fn consume(
    channel: &Channel,
    queue: ShortString,
    tag: ShortString,
    arguments: FieldTable,
) -> JoinHandle<lapin::Result<Consumer>> {
    let channel = channel.clone();
    tokio::spawn(async move {
        channel.basic_consume(queue, tag, BasicConsumeOptions::default(), arguments).await
    })
}
