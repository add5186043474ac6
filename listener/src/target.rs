//! Where notifications are taken from and sent to: `Target` is exchange and topic. Routing
//! keys (`topic.priority`) and queue names are made here and nowhere else.

use std::fmt;

use crate::notification::priority::Priority;

/// The topic of listeners and notifiers that name none, as in oslo.messaging.
pub const DEFAULT_TOPIC: &str = "notifications";

/// The exchange of a target that names none: oslo.messaging's `control_exchange`.
pub const DEFAULT_EXCHANGE: &str = "openstack";

/// A topic on an exchange. As text it is `topic` or `exchange/topic`, as in `LISTENER_TOPICS`.
///
/// The exchange says where queues are bound; it is no filter. All listeners of a topic share the
/// queues `topic.priority`, whichever exchanges are bound to them: what comes from an exchange that
/// no endpoint names concerns every endpoint of the topic. A pool has a queue of its own, to which
/// only the exchanges of its listeners are bound.
///
/// ```
/// use listener::Target;
///
/// let nova = Target::topic("notifications").exchange("nova");
/// assert_eq!((nova.name(), nova.exchange_name()), ("notifications", Some("nova")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    topic: String,
    exchange: Option<String>,
}

impl Target {
    /// A topic on the default exchange (oslo.messaging's `control_exchange`).
    pub fn topic(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), exchange: None }
    }

    /// The same topic on the exchange of this name.
    #[must_use]
    pub fn exchange(self, exchange: impl Into<String>) -> Self {
        Self { exchange: Some(exchange.into()), ..self }
    }

    /// The same, on this exchange if it names none.
    pub(crate) fn or_exchange(self, exchange: &str) -> Self {
        Self { exchange: self.exchange.or_else(|| Some(exchange.to_owned())), ..self }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.topic
    }

    /// The exchange, if one was named.
    #[must_use]
    pub fn exchange_name(&self) -> Option<&str> {
        self.exchange.as_deref()
    }
}

/// Reads `topic` or `exchange/topic`.
///
/// ```
/// use listener::Target;
///
/// assert_eq!(Target::from("nova/billing"), Target::topic("billing").exchange("nova"));
/// ```
impl From<&str> for Target {
    fn from(text: &str) -> Self {
        match text.split_once('/') {
            Some((exchange, topic)) => Self::topic(topic).exchange(exchange),
            None => Self::topic(text),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(exchange) = &self.exchange {
            write!(f, "{exchange}/")?;
        }
        f.write_str(&self.topic)
    }
}

/// The routing key of a topic and a priority, which is also the name of the queue that all
/// unpooled listeners share: `notifications.info`.
#[must_use]
pub fn routing_key(topic: &str, priority: Priority) -> String {
    format!("{topic}.{priority}")
}

/// The priority that a routing key ends in, if it is one that [`routing_key`] makes.
pub(crate) fn priority_of(routing_key: &str) -> Option<Priority> {
    let (_, last) = routing_key.rsplit_once('.')?;
    Priority::ALL.into_iter().find(|priority| priority.as_str() == last)
}

/// The queue that takes what was given up of `queue`.
#[must_use]
pub fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}.dead")
}

/// The queue of what may end the process that works on it, taken from `queue`.
#[must_use]
pub fn quarantine_queue(queue: &str) -> String {
    format!("{queue}.quarantine")
}

/// The journal of the suspects of a pool or a topic.
#[must_use]
pub fn quarantine_journal(pool_or_topic: &str) -> String {
    format!("{pool_or_topic}.quarantine.journal")
}
