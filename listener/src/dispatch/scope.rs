//! Which of a listener's targets a delivery came from, and so which endpoints it concerns.
//! Asked by `mod.rs` once for each notification; the targets are bound by the runtime.

use std::collections::{BTreeSet, HashMap};

use crate::notification::delivery_info::DeliveryInfo;
use crate::target::Target;

/// Every target that a listener binds.
#[derive(Debug, Default)]
pub(super) struct Scope {
    targets: Vec<Target>,
    /// Their places, by topic and then exchange.
    places: HashMap<String, Vec<(String, usize)>>,
}

/// Where a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin<'s> {
    /// One of the targets.
    Target(usize),
    /// A topic of theirs, by an exchange that is none of theirs: the queue of a topic is
    /// shared by all exchanges, and whoever consumes it must handle what is in it.
    Topic(&'s str),
    /// Nothing that was asked for: put into the queue by hand, or by somebody else's
    /// binding. It concerns everybody, for else it would be acknowledged unseen.
    Unknown,
}

impl Scope {
    /// The place of a target, which is added if it is new.
    pub(super) fn place(&mut self, target: Target) -> usize {
        let exchange = target.exchange_name().unwrap_or_default();
        let of_topic = self.places.entry(target.name().to_owned()).or_default();
        if let Some((_, place)) = of_topic.iter().find(|(known, _)| known == exchange) {
            return *place;
        }
        let place = self.targets.len();
        of_topic.push((exchange.to_owned(), place));
        self.targets.push(target);
        place
    }

    /// The targets, each with its exchange.
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn origin<'s>(&'s self, delivery: &DeliveryInfo) -> Origin<'s> {
        let Some((topic, of_topic)) = self.places.get_key_value(delivery.topic()) else {
            return Origin::Unknown;
        };
        let exact = of_topic.iter().find(|(exchange, _)| *exchange == *delivery.exchange);
        exact.map_or(Origin::Topic(topic), |(_, place)| Origin::Target(*place))
    }

    /// Whether what came from `origin` concerns an endpoint with these targets.
    pub(super) fn concerns(&self, origin: Origin<'_>, places: &BTreeSet<usize>) -> bool {
        match origin {
            Origin::Target(place) => places.contains(&place),
            Origin::Topic(topic) => places.iter().any(|place| self.targets[*place].name() == topic),
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
            scope.place(target);
        }
        scope
    }

    /// Which of the three targets an endpoint must have to see a delivery.
    fn check(exchange: &str, routing_key: &str, expected: [bool; 3]) {
        let scope = scope();
        let origin = scope.origin(&DeliveryInfo::new("queue", exchange, routing_key));
        let concerns = [0, 1, 2].map(|place| scope.concerns(origin, &BTreeSet::from([place])));
        assert_eq!(concerns, expected, "{exchange} {routing_key}");
    }

    #[test]
    fn what_came_from_a_target_concerns_those_who_named_it() {
        check("nova", "notifications.info", [false, true, false]);
        check("nova", "versioned.error", [false, false, true]);
    }

    #[test]
    fn what_another_exchange_put_into_a_shared_queue_concerns_all_of_its_topic() {
        check("cinder", "notifications.info", [true, true, false]);
        check("", "notifications.info", [true, true, false]);
    }

    #[test]
    fn what_came_from_nowhere_known_concerns_everybody() {
        check("", "billing", [true, true, true]);
        check("nova", "other.info", [true, true, true]);
    }

    #[test]
    fn a_target_has_one_place() {
        let mut scope = scope();
        assert_eq!(scope.place(Target::topic("versioned").exchange("nova")), 2);
        assert_eq!(scope.place(Target::topic("versioned").exchange("glance")), 3);
    }
}
