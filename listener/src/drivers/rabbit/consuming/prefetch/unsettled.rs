//! The unsettled deliveries of a channel, and their bytes. How many there may be is decided in `mod.rs`
//! and `queue.rs`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A consumer: the index of its queue, and its number among the consumers of this queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerId {
    pub(super) queue: usize,
    pub(super) consumer_number: u32,
}

impl ConsumerId {
    pub(crate) const fn queue(self) -> usize {
        self.queue
    }
}

/// An unsettled delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnsettledDelivery {
    pub(super) consumer: ConsumerId,
    pub(super) size: usize,
}

#[derive(Debug, Default)]
pub(super) struct UnsettledDeliveries {
    /// By tag.
    deliveries: HashMap<u64, UnsettledDelivery, BuildHasherDefault<TagHasher>>,
    bytes: usize,
}

impl UnsettledDeliveries {
    pub(super) fn insert(&mut self, tag: u64, delivery: UnsettledDelivery) {
        self.deliveries.insert(tag, delivery);
        self.bytes = self.bytes.saturating_add(delivery.size);
    }

    pub(super) fn remove(&mut self, tag: u64) -> Option<UnsettledDelivery> {
        let delivery = self.deliveries.remove(&tag)?;
        self.bytes = self.bytes.saturating_sub(delivery.size);
        Some(delivery)
    }

    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Spreads tags. The broker assigns them in sequence, so nobody can choose colliding ones.
#[derive(Debug, Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, tag: u64) {
        self.0 = (self.0 ^ tag).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
