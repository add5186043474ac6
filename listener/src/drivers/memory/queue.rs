//! A queue: the messages that wait in it, and who takes from it. Order and counts are as in a
//! quorum queue of RabbitMQ: a message that comes back takes its old place. Who may take how
//! much is decided in `bus.rs`.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::drivers::memory::bus::ConsumerId;
use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::delivery::Properties;

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

/// Whether a message that comes back was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// It was given out, and may be why its consumer failed.
    Counted,
    /// Nobody began with it.
    Uncounted,
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

    /// Puts a message back into its old place. The count is said from then on: like a quorum
    /// queue, this one says nothing the first time.
    pub(super) fn take_back(&mut self, mut message: Message, how: Return) {
        let before = message.info.delivery_count.unwrap_or_default();
        message.info.redelivered = true;
        message.info.delivery_count = Some(before + u64::from(how == Return::Counted));
        let at = self.ready.partition_point(|ready| ready.place < message.place);
        self.ready.insert(at, message);
    }
}
