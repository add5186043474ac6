//! A queue: its ready messages and its consumers. Order and counts are as in a quorum queue of RabbitMQ: a
//! redelivered message returns to its old position. `bus.rs` decides how much a consumer receives.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::delivery::Properties;

/// Which consumer of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConsumerId(pub(super) u64);

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) ready: VecDeque<Message>,
    /// Whether it is deleted when it has no consumer. Here that happens at once.
    pub(super) temporary: bool,
    /// Its consumers. The first one that can receive a message does so, and moves to the end.
    pub(super) consumers: VecDeque<QueueConsumer>,
}

/// A consumer of a queue, and how many more deliveries it may receive.
#[derive(Debug)]
pub(super) struct QueueConsumer {
    pub(super) id: ConsumerId,
    pub(super) credit: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its position in the queue: the number that it got when it first entered.
    pub(super) number: u64,
    pub(super) body: Bytes,
    pub(super) properties: Properties,
    pub(super) info: DeliveryInfo,
}

/// The delivery limit of a queue, as RabbitMQ's `x-delivery-limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "only the model broker sets limits")
)]
pub struct DeliveryLimit {
    /// A message that was returned more often than this is not delivered again.
    pub deliveries: u64,
    /// The queue that it is moved to; `None`: it is dropped.
    pub dead_letters: Option<String>,
}

impl Queue {
    pub(super) fn is_consumed_by(&self, consumer: ConsumerId) -> bool {
        self.consumers.iter().any(|attached| attached.id == consumer)
    }

    /// Lets a consumer receive one more delivery.
    pub(super) fn add_credit(&mut self, consumer: ConsumerId) {
        if let Some(attached) = self.consumers.iter_mut().find(|attached| attached.id == consumer) {
            attached.credit = attached.credit.saturating_add(1);
        }
    }

    /// Returns a message to its old position.
    pub(super) fn put_back(&mut self, message: Message) {
        let at = self.ready.partition_point(|ready| ready.number < message.number);
        self.ready.insert(at, message);
    }
}

impl Message {
    /// The message for its next delivery. It has a delivery count from now on: like a quorum queue, this
    /// one does not report a count for the first delivery.
    pub(super) fn redelivered(mut self) -> Self {
        let count = self.count() + 1;
        self.info = self.info.redelivered(true).delivery_count(Some(count));
        self
    }

    /// How often it was delivered and returned.
    pub(super) fn count(&self) -> u64 {
        self.info.delivery_count.unwrap_or_default()
    }
}
