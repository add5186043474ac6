//! Which target of a listener a delivery belongs to, and so which endpoints it is for. `table.rs` looks it
//! up once for each notification; the runtime binds the targets.

use std::collections::{BTreeSet, HashMap};

use crate::notification::delivery_info::DeliveryInfo;
use crate::target::Target;

/// Every target that a listener binds.
#[derive(Debug, Default)]
pub(super) struct Scope {
    targets: Vec<Target>,
    /// Their indices, by topic and then exchange.
    indices: HashMap<String, Vec<(String, usize)>>,
}

/// The origin of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin<'s> {
    /// One of the targets.
    Target(usize),
    /// A topic of the targets, from another exchange: all exchanges share the queue of a topic, and its
    /// consumers must handle all messages in it.
    Topic(&'s str),
    /// None of the targets: it was put into the queue manually, or through another program's binding. It is
    /// for every endpoint, because otherwise it would be acknowledged unseen.
    Unknown,
}

impl Scope {
    /// The index of a target, which is added if it is new.
    pub(super) fn index(&mut self, target: Target) -> usize {
        let exchange = target.exchange_name().unwrap_or_default();
        let of_topic = self.indices.entry(target.topic_name().to_owned()).or_default();
        if let Some((_, index)) = of_topic.iter().find(|(known, _)| known == exchange) {
            return *index;
        }
        let index = self.targets.len();
        of_topic.push((exchange.to_owned(), index));
        self.targets.push(target);
        index
    }

    /// The targets, each with its exchange.
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn origin<'s>(&'s self, delivery: &DeliveryInfo) -> Origin<'s> {
        let Some((topic, of_topic)) = self.indices.get_key_value(delivery.topic()) else {
            return Origin::Unknown;
        };
        let exact = of_topic.iter().find(|(exchange, _)| *exchange == *delivery.exchange);
        exact.map_or(Origin::Topic(topic), |(_, index)| Origin::Target(*index))
    }

    /// Whether a delivery of this origin is for an endpoint with these targets.
    pub(super) fn includes(&self, origin: Origin<'_>, indices: &BTreeSet<usize>) -> bool {
        match origin {
            Origin::Target(index) => indices.contains(&index),
            Origin::Topic(topic) => {
                indices.iter().any(|index| self.targets[*index].topic_name() == topic)
            }
            Origin::Unknown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let mut scope = Scope::default();
        for target in [
            Target::topic("notifications").exchange("openstack"),
            Target::topic("notifications").exchange("nova"),
            Target::topic("versioned").exchange("nova"),
        ] {
            scope.index(target);
        }
        scope
    }

    /// For which of the three targets a delivery is.
    fn check(exchange: &str, routing_key: &str, expected: [bool; 3]) {
        let scope = scope();
        let origin = scope.origin(&DeliveryInfo::new("queue", exchange, routing_key));
        let includes = [0, 1, 2].map(|index| scope.includes(origin, &BTreeSet::from([index])));
        assert_eq!(includes, expected, "{exchange} {routing_key}");
    }

    #[test]
    fn a_delivery_of_a_target_is_for_its_endpoints() {
        check("nova", "notifications.info", [false, true, false]);
        check("nova", "versioned.error", [false, false, true]);
    }

    #[test]
    fn a_delivery_from_another_exchange_is_for_all_endpoints_of_the_topic() {
        check("cinder", "notifications.info", [true, true, false]);
        check("", "notifications.info", [true, true, false]);
    }

    #[test]
    fn a_delivery_of_unknown_origin_is_for_all_endpoints() {
        check("", "billing", [true, true, true]);
        check("nova", "other.info", [true, true, true]);
    }

    #[test]
    fn a_target_has_one_index() {
        let mut scope = scope();
        assert_eq!(scope.index(Target::topic("versioned").exchange("nova")), 2);
        assert_eq!(scope.index(Target::topic("versioned").exchange("glance")), 3);
    }
}
