//! How a notification reached this listener. Drivers create it, and endpoint methods can take it. The
//! delivery itself, with the right to settle it, is in `transport/delivery.rs`.

use std::sync::Arc;

/// How a notification reached this listener. Methods may take `&DeliveryInfo` as an argument: for a
/// retry or a quarantined copy they get the queue, exchange and routing key of the original, and
/// `redelivered` and `delivery_count` of the copy.
///
/// ```
/// use listener::DeliveryInfo;
///
/// let info = DeliveryInfo::new("billing.info", "nova", "notifications.info").redelivered(true);
/// assert_eq!((info.topic(), info.redelivered), ("notifications", true));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeliveryInfo {
    /// The queue that it was consumed from.
    pub queue: Arc<str>,
    /// The exchange that it was published to; empty if it was sent directly to the queue.
    pub exchange: Arc<str>,
    /// The routing key that it was published with: `topic.priority`.
    pub routing_key: Arc<str>,
    /// Whether the broker delivered it before. `false` does not exclude an earlier delivery.
    pub redelivered: bool,
    /// How often the broker delivered it before. Only quorum queues of RabbitMQ and the in-memory driver
    /// count.
    pub delivery_count: Option<u64>,
}

impl DeliveryInfo {
    /// A first delivery, for drivers and tests.
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

    /// Sets how often the broker delivered it before.
    #[must_use]
    pub fn delivery_count(self, delivery_count: Option<u64>) -> Self {
        Self { delivery_count, ..self }
    }

    /// Sets whether the broker delivered it before.
    #[must_use]
    pub fn redelivered(self, redelivered: bool) -> Self {
        Self { redelivered, ..self }
    }

    /// The topic of the routing key: everything before the last dot; empty if there is no dot.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.routing_key.rsplit_once('.').map_or("", |(topic, _)| topic)
    }
}
