//! Which of a listener's targets a delivery came from, and so which endpoints it concerns.
//! Asked by `mod.rs` once for each notification; the targets are bound by the runtime.

use crate::notification::delivery_info::DeliveryInfo;
use crate::target::Target;

/// Every target that a listener binds.
#[derive(Debug, Default)]
pub(super) struct Scope(Vec<Target>);

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
        self.0.iter().position(|known| *known == target).unwrap_or_else(|| {
            self.0.push(target);
            self.0.len() - 1
        })
    }

    /// The targets, each with its exchange.
    pub(super) fn targets(&self) -> &[Target] {
        &self.0
    }

    pub(super) fn origin<'s>(&'s self, delivery: &DeliveryInfo) -> Origin<'s> {
        let topic = delivery.topic();
        let exact = self.0.iter().position(|known| {
            known.name() == topic && known.exchange_name() == Some(&delivery.exchange)
        });
        if let Some(place) = exact {
            return Origin::Target(place);
        }
        let same_topic = self.0.iter().find(|known| known.name() == topic);
        same_topic.map_or(Origin::Unknown, |known| Origin::Topic(known.name()))
    }

    /// Whether what came from `origin` concerns an endpoint with these targets.
    pub(super) fn concerns(&self, origin: Origin<'_>, places: &[usize]) -> bool {
        match origin {
            Origin::Target(place) => places.contains(&place),
            Origin::Topic(topic) => places.iter().any(|place| self.0[*place].name() == topic),
            Origin::Unknown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope(vec![
            Target::topic("notifications").exchange("openstack"),
            Target::topic("notifications").exchange("nova"),
            Target::topic("versioned").exchange("nova"),
        ])
    }

    /// Which of the three targets an endpoint must have to see a delivery.
    fn check(exchange: &str, routing_key: &str, expected: [bool; 3]) {
        let scope = scope();
        let origin = scope.origin(&DeliveryInfo::new("queue", exchange, routing_key));
        let concerns = [0, 1, 2].map(|place| scope.concerns(origin, &[place]));
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
