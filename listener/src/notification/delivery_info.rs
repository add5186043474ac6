//! How a notification reached this listener. Made by a driver, shown to endpoint methods.

use std::sync::Arc;

/// How a notification reached this listener.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        }
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
