//! What queues that exist are like, as far as AMQP shows it, and how those that are missing are
//! declared, so that the deployment's other programs can declare them too. Decisions only;
//! `topology.rs` asks the broker.

use std::collections::BTreeMap;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::failure::Fault;
use super::options::{Dialect, RabbitOptions};
use super::single::told;

/// How many refusals about other arguments are followed up.
const MOST: usize = 12;

/// What a queue is like, as far as it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) durable: Option<bool>,
    pub(super) quorum: Option<bool>,
    /// The delivery limit that it was declared with. That of a policy never shows.
    pub(super) limit: Option<u64>,
}

impl From<Style> for Seen {
    fn from(style: Style) -> Self {
        Self { durable: Some(style.durable), quorum: Some(style.quorum), limit: style.limit }
    }
}

/// How a queue is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) durable: bool,
    pub(super) quorum: bool,
    pub(super) limit: Option<u64>,
}

impl Style {
    /// As the options say.
    pub(super) fn asked(options: &RabbitOptions) -> Self {
        let limit =
            Some(u64::from(options.rabbit_quorum_delivery_limit)).filter(|limit| *limit > 0);
        Self {
            durable: options.durable(),
            quorum: options.quorum(),
            limit: limit.filter(|_| options.quorum()),
        }
    }

    /// As the options say, but never transient: for queues that are the listener's own.
    pub(super) fn own(options: &RabbitOptions) -> Self {
        Self { durable: true, ..Self::asked(options) }
    }

    /// As a queue that was seen, as far as that showed.
    pub(super) fn like(seen: Seen, options: &RabbitOptions) -> Self {
        let asked = Self::asked(options);
        let quorum = seen.quorum.unwrap_or(asked.quorum);
        Self {
            durable: quorum || seen.durable.unwrap_or(asked.durable),
            quorum,
            limit: if seen.quorum.is_some() { seen.limit } else { asked.limit },
        }
    }

    /// As the options say; where they leave it open, as what exists shows. `durable` is what
    /// exchanges and queues show, and `queues` what queues show, the best evidence first.
    pub(super) fn of(
        options: &RabbitOptions,
        durable: impl IntoIterator<Item = Option<bool>>,
        queues: impl IntoIterator<Item = Seen>,
    ) -> Self {
        let asked = Self::asked(options);
        if !goes_by_evidence(options) {
            return asked;
        }
        let durable = durable.into_iter().flatten().next().unwrap_or(asked.durable);
        let shown = queues.into_iter().find(|seen| seen.quorum.is_some());
        match shown {
            Some(Seen { quorum: Some(true), limit, .. }) if durable => {
                Self { durable, quorum: true, limit }
            }
            _ => Self { durable, quorum: false, limit: None },
        }
    }
}

/// Whether what exists shows how to declare what is missing: programs with oslo.messaging declare
/// the same, and the options leave it open.
pub(super) fn goes_by_evidence(options: &RabbitOptions) -> bool {
    options.dialect == Dialect::Oslo
        && options.amqp_durable_queues.is_none()
        && options.rabbit_quorum_queue.is_none()
        && options.rabbit_ha_queues.is_none()
}

/// A declaration of a queue that exists. It fits a quorum queue without a delivery limit; the
/// refusal for any other tells what that is.
pub(super) struct Probe {
    pub(super) options: QueueDeclareOptions,
    arguments: BTreeMap<ShortString, AMQPValue>,
    left: usize,
}

impl Probe {
    pub(super) fn new() -> Self {
        let quorum = AMQPValue::LongString(LongString::from("quorum"));
        Self {
            options: QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() },
            arguments: BTreeMap::from([("x-queue-type".into(), quorum)]),
            left: MOST,
        }
    }

    pub(super) fn arguments(&self) -> FieldTable {
        FieldTable::from(self.arguments.clone())
    }

    /// What the queue is, if it was declared with this.
    pub(super) fn accepted() -> Seen {
        Seen { durable: Some(true), quorum: Some(true), limit: None }
    }

    /// What a refusal tells; none if it is to be asked again.
    pub(super) fn refused(&mut self, fault: &Fault) -> Option<Seen> {
        let Fault::Broker { code: 406, text } = fault else { return Some(Seen::default()) };
        // Whether it is durable is compared before all arguments.
        let durable = Seen { durable: Some(true), ..Seen::default() };
        let number = |value| match value {
            Some(AMQPValue::LongLongInt(limit)) => u64::try_from(limit).ok(),
            _ => None,
        };
        match told(text) {
            Some(("durable", Some(AMQPValue::Boolean(false)))) => {
                return Some(Seen { durable: Some(false), quorum: Some(false), limit: None });
            }
            Some(("x-queue-type", _)) => return Some(Seen { quorum: Some(false), ..durable }),
            Some(("x-delivery-limit", value)) => {
                return Some(Seen { quorum: Some(true), limit: number(value), ..durable });
            }
            Some(("auto_delete", Some(AMQPValue::Boolean(is)))) => self.options.auto_delete = is,
            Some((name, Some(value))) => drop(self.arguments.insert(name.into(), value)),
            Some((name, None)) => drop(self.arguments.remove(name)),
            None => return Some(Seen::default()),
        }
        self.left -= 1;
        (self.left == 0).then_some(durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSIC: Seen = Seen { durable: Some(true), quorum: Some(false), limit: None };
    const QUORUM: Seen = Seen { durable: Some(true), quorum: Some(true), limit: Some(9) };
    const TRANSIENT: Seen = Seen { durable: Some(false), quorum: Some(false), limit: None };
    const HIDDEN: Seen = Seen { durable: None, quorum: None, limit: None };

    fn options(url: &str) -> RabbitOptions {
        RabbitOptions::from_url(&url.parse().expect("a transport URL")).expect("known options")
    }

    fn refusal(argument: &str, current: &str) -> Fault {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received .. but current is {current}"
        );
        Fault::Broker { code: 406, text }
    }

    #[test]
    fn what_exists_shows_how_the_rest_is_declared() {
        let style = |durable, quorum, limit| Style { durable, quorum, limit };
        let table = [
            (vec![], vec![], style(false, false, None)),
            (vec![Some(false)], vec![], style(false, false, None)),
            (vec![Some(true)], vec![], style(true, false, None)),
            (vec![None, Some(true), Some(false)], vec![HIDDEN], style(true, false, None)),
            (vec![Some(true)], vec![HIDDEN, QUORUM], style(true, true, Some(9))),
            (vec![Some(true)], vec![CLASSIC, QUORUM], style(true, false, None)),
            // The exchange decides: whoever has other settings cannot use it.
            (vec![Some(false), Some(true)], vec![QUORUM], style(false, false, None)),
            (vec![Some(false)], vec![TRANSIENT], style(false, false, None)),
        ];
        for (durable, queues, expected) in table {
            let found = Style::of(&options("rabbit://h"), durable.clone(), queues.clone());
            assert_eq!(found, expected, "{durable:?} {queues:?}");
        }
    }

    #[test]
    fn options_that_are_given_decide_whatever_exists() {
        let table = [
            ("rabbit://h?amqp_durable_queues=true", Some(false), TRANSIENT, true, false),
            ("rabbit://h?amqp_durable_queues=false", Some(true), QUORUM, false, false),
            ("rabbit://h?rabbit_quorum_queue=true", Some(false), TRANSIENT, true, true),
            ("amqp://h", Some(false), TRANSIENT, true, false),
            ("amqp://h?rabbit_quorum_queue=true", Some(false), CLASSIC, true, true),
        ];
        for (url, exchange, queue, durable, quorum) in table {
            let found = Style::of(&options(url), [exchange], [queue]);
            assert_eq!((found.durable, found.quorum), (durable, quorum), "{url}");
        }
    }

    #[test]
    fn queues_of_our_own_are_never_transient() {
        assert!(Style::own(&options("rabbit://h")).durable);
        assert!(Style::own(&options("rabbit://h?amqp_durable_queues=false")).durable);
    }

    #[test]
    fn a_queue_that_vanished_is_declared_as_it_was() {
        let options = options("rabbit://h");
        assert_eq!(Seen::from(Style::like(QUORUM, &options)), QUORUM);
        assert_eq!(Seen::from(Style::like(TRANSIENT, &options)), TRANSIENT);
        assert_eq!(Style::like(HIDDEN, &options), Style::asked(&options));
    }

    #[test]
    fn the_refusals_tell_what_a_queue_is() {
        let seen = |argument, current| Probe::new().refused(&refusal(argument, current));
        assert_eq!(seen("durable", "'false'"), Some(TRANSIENT));
        assert_eq!(seen("x-queue-type", "none"), Some(CLASSIC));
        assert_eq!(seen("x-queue-type", "the value 'classic' of type 'longstr'"), Some(CLASSIC));
        assert_eq!(seen("x-delivery-limit", "the value '9' of type 'signedint'"), Some(QUORUM));
        let forbidden = Fault::Broker { code: 403, text: "ACCESS_REFUSED".to_owned() };
        assert_eq!(Probe::new().refused(&forbidden), Some(HIDDEN));
    }

    #[test]
    fn other_arguments_are_taken_over_and_it_is_asked_again() {
        let mut probe = Probe::new();
        let other = refusal("x-max-length", "the value '10' of type 'signedint'");
        assert_eq!(probe.refused(&other), None);
        assert_eq!(
            probe.arguments().inner().get("x-max-length"),
            Some(&AMQPValue::LongLongInt(10))
        );
        assert_eq!(probe.refused(&refusal("auto_delete", "'true'")), None);
        assert!(probe.options.auto_delete);
        let told = (0..MOST).find_map(|_| probe.refused(&other));
        assert_eq!(told, Some(Seen { durable: Some(true), ..HIDDEN }));
    }
}
