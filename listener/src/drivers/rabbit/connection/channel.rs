//! Calls on channels, each with a deadline, and lapin's errors as faults. Channels are opened by
//! `link.rs`; what is declared, consumed and published over them is in the other folders.

use std::time::Duration;

use futures_util::FutureExt;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};

use super::failure::Fault;
use crate::drivers::rabbit::options::{CALL_TIMEOUT, CLOSE_TIMEOUT};
use crate::drivers::rabbit::workarounds::detached_consume;

/// A call to the broker within the timeout for one.
pub(crate) async fn call<T>(future: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
    within(CALL_TIMEOUT, future).await
}

pub(super) async fn within<T>(
    limit: Duration,
    future: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.map_err(|error| Fault::from(&error)),
        Err(_) => Err(no_answer(limit)),
    }
}

fn no_answer(limit: Duration) -> Fault {
    Fault::Other(format!("no answer within {limit:?}"))
}

/// Makes the broker confirm what is published on a channel.
pub(crate) async fn select_confirms(channel: &Channel) -> Result<(), Fault> {
    call(channel.confirm_select(ConfirmSelectOptions::default())).await
}

/// Starts a consumer. If this future is dropped or times out, the consumer is cancelled once the broker
/// has answered.
pub(crate) async fn consume(
    channel: &Channel,
    queue: ShortString,
    tag: ShortString,
    arguments: FieldTable,
) -> Result<Consumer, Fault> {
    let request = detached_consume::consume(channel, queue, tag, arguments);
    match tokio::time::timeout(CALL_TIMEOUT, request).await {
        Ok(Ok(answer)) => answer.map_err(|error| Fault::from(&error)),
        Ok(Err(error)) => Err(Fault::Other(error.to_string())),
        Err(_) => Err(no_answer(CALL_TIMEOUT)),
    }
}

/// Closes a channel: the broker has then processed all that was written to it before.
pub(crate) async fn close_channel(channel: &Channel) -> Result<(), Fault> {
    within(CLOSE_TIMEOUT, channel.close(200, "OK".into())).await
}

/// Acknowledges a delivery, with all before it if `multiple`. It is in lapin's queue of frames when this
/// returns, as are those of `reject` and `nack_all`: to wait for the socket would make each of them a
/// round trip through lapin's thread. That all have arrived is known when the channel is closed.
pub(crate) fn ack(channel: &Channel, tag: u64, multiple: bool) -> Result<(), Fault> {
    queued(channel.basic_ack(tag, BasicAckOptions { multiple }))
}

/// Requeues a delivery as failed: quorum queues of every version count it.
pub(crate) fn reject(channel: &Channel, tag: u64) -> Result<(), Fault> {
    queued(channel.basic_reject(tag, BasicRejectOptions { requeue: true }))
}

/// Requeues all unsettled deliveries of a channel as not attempted.
pub(crate) fn nack_all(channel: &Channel) -> Result<(), Fault> {
    // In AMQP tag 0 with `multiple` means all.
    queued(channel.basic_nack(0, BasicNackOptions { requeue: true, multiple: true }))
}

/// lapin queues the frame when the future is polled for the first time.
fn queued(future: impl Future<Output = lapin::Result<()>>) -> Result<(), Fault> {
    match future.now_or_never() {
        Some(Err(error)) => Err(Fault::from(&error)),
        Some(Ok(())) | None => Ok(()),
    }
}
