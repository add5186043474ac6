//! The properties of queues and exchanges, as far as AMQP shows them. They are determined in
//! `inspect.rs`, and remembered in `broker_state.rs`.

use lapin::types::{AMQPValue, LongString};

/// The argument with the limit on deliveries.
pub(super) const DELIVERY_LIMIT_ARG: &str = "x-delivery-limit";
pub(super) const MEMORY_LENGTH_ARG: &str = "x-max-in-memory-length";
pub(super) const MEMORY_BYTES_ARG: &str = "x-max-in-memory-bytes";

/// When a queue or exchange is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// Whether it survives a restart of the broker.
    pub(crate) durable: bool,
    /// Whether it is deleted with its last consumer or binding.
    pub(crate) auto_delete: bool,
}

/// The limits that a quorum queue was declared with. AMQP does not show the limits of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A negative number means no limit, where RabbitMQ has one by default.
    pub(crate) deliveries: Option<i64>,
    pub(crate) memory_length: Option<i64>,
    pub(crate) memory_bytes: Option<i64>,
}

impl Limits {
    /// With their names as arguments.
    pub(crate) fn named(self) -> [(&'static str, Option<i64>); 3] {
        [
            (DELIVERY_LIMIT_ARG, self.deliveries),
            (MEMORY_LENGTH_ARG, self.memory_length),
            (MEMORY_BYTES_ARG, self.memory_bytes),
        ]
    }
}

/// The type of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueType {
    Quorum,
    Classic,
    Stream,
}

/// The properties of an existing queue, as far as they are visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueProperties {
    pub(crate) lifetime: Option<Lifetime>,
    /// The type; none if it is not visible.
    pub(crate) queue_type: Option<QueueType>,
    pub(crate) limits: Limits,
}

impl QueueProperties {
    /// Whether it is a quorum queue, if its type is visible.
    pub(crate) fn is_quorum(self) -> Option<bool> {
        self.queue_type.map(|queue_type| queue_type == QueueType::Quorum)
    }

    pub(crate) fn durable(self) -> Option<bool> {
        self.lifetime.map(|lifetime| lifetime.durable)
    }
}

/// A text as an argument of a declaration.
pub(super) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// Properties of queues, for the tests of the decisions about them.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use crate::drivers::rabbit::options::RabbitOptions;

    pub(crate) const DURABLE: Lifetime = Lifetime { durable: true, auto_delete: false };
    pub(crate) const TRANSIENT_LIFETIME: Lifetime = Lifetime { durable: false, auto_delete: false };
    pub(crate) const NONE: Limits =
        Limits { deliveries: None, memory_length: None, memory_bytes: None };
    pub(crate) const NINE: Limits = Limits { deliveries: Some(9), memory_length: Some(5), ..NONE };
    pub(crate) const HIDDEN: QueueProperties =
        QueueProperties { lifetime: None, queue_type: None, limits: NONE };
    pub(crate) const CLASSIC: QueueProperties =
        QueueProperties { lifetime: Some(DURABLE), queue_type: Some(QueueType::Classic), ..HIDDEN };
    pub(crate) const QUORUM: QueueProperties =
        QueueProperties { queue_type: Some(QueueType::Quorum), limits: NINE, ..CLASSIC };
    pub(crate) const TRANSIENT: QueueProperties =
        QueueProperties { lifetime: Some(TRANSIENT_LIFETIME), ..CLASSIC };

    pub(crate) fn options(url: &str) -> RabbitOptions {
        RabbitOptions::from_url(&url.parse().expect("a transport URL")).expect("known options")
    }
}
