//! How a notification reached this listener. Made by a driver, shown to endpoint methods.
//! The delivery itself, with the right to settle it, is in `transport/delivery.rs`.

use std::sync::Arc;

/// How a notification reached this listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeliveryInfo {
    /// The queue it was taken from.
    pub queue: Arc<str>,
    /// The exchange it was sent to; empty when it was put straight into the queue.
    pub exchange: Arc<str>,
    /// The routing key it was sent with: `topic.priority`.
    pub routing_key: Arc<str>,
    /// Whether the broker gave it out before. False is no promise that it did not.
    pub redelivered: bool,
    /// How often the broker gave it out before, where it counts that: RabbitMQ does for quorum
    /// queues.
    pub delivery_count: Option<u64>,
}

impl DeliveryInfo {
    /// A first delivery.
    pub fn new(
        queue: impl Into<Arc<str>>,
        exchange: impl Into<Arc<str>>,
        routing_key: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            redelivered: false,
            delivery_count: None,
        }
    }

    /// The same, with the broker's count of how often it gave it out before.
    #[must_use]
    pub fn counted(self, delivery_count: Option<u64>) -> Self {
        Self { delivery_count, ..self }
    }

    /// The same, given out again.
    #[must_use]
    pub fn redelivered(self, redelivered: bool) -> Self {
        Self { redelivered, ..self }
    }

    /// The topic of the routing key: all before the last dot.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.routing_key.rsplit_once('.').map_or("", |(topic, _)| topic)
    }
}
