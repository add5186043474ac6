//! A queue: the messages that wait in it, and who takes from it. Order and counts are as in a
//! quorum queue of RabbitMQ: a message that comes back takes its old place. Who may take how
//! much is decided in `bus.rs`.

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
    /// Whether it was declared to go away once nobody consumes. Here that is at once.
    pub(super) temporary: bool,
    /// Who takes from it; the first that can is next, and then goes to the back.
    pub(super) taps: VecDeque<Tap>,
}

/// A consumer's hold on a queue, and how many deliveries it may still be given.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) consumer: ConsumerId,
    pub(super) credit: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its place: the number that it got when it first entered the queue.
    pub(super) place: u64,
    pub(super) body: Bytes,
    pub(super) properties: Properties,
    pub(super) info: DeliveryInfo,
}

/// A queue's limit on how often it gives a message out: RabbitMQ's `x-delivery-limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "only the model broker sets limits")
)]
pub struct Limit {
    /// A message that has come back more often than this is not given out again.
    pub deliveries: u64,
    /// The queue that it goes to then; `None`: it is dropped.
    pub dead_letters: Option<String>,
}

impl Queue {
    pub(super) fn is_tapped_by(&self, consumer: ConsumerId) -> bool {
        self.taps.iter().any(|tap| tap.consumer == consumer)
    }

    /// Lets a consumer have one more.
    pub(super) fn add_credit(&mut self, consumer: ConsumerId) {
        if let Some(tap) = self.taps.iter_mut().find(|tap| tap.consumer == consumer) {
            tap.credit = tap.credit.saturating_add(1);
        }
    }

    /// Puts a message back into its old place.
    pub(super) fn put_back(&mut self, message: Message) {
        let at = self.ready.partition_point(|ready| ready.place < message.place);
        self.ready.insert(at, message);
    }
}

impl Message {
    /// The message as it comes the next time. Its count is said from now on: like a quorum
    /// queue, this one says nothing the first time.
    pub(super) fn again(mut self) -> Self {
        let count = self.count() + 1;
        self.info = self.info.redelivered(true).counted(Some(count));
        self
    }

    /// How often it was given out and came back.
    pub(super) fn count(&self) -> u64 {
        self.info.delivery_count.unwrap_or_default()
    }
}
