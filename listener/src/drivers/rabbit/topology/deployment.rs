//! What queues that exist are like, as far as AMQP shows it, and how those that are missing are
//! declared, so that the deployment's other programs can declare them too. Decisions only;
//! `topology.rs` asks the broker.

use std::collections::BTreeMap;

use lapin::ExchangeKind;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::single_active::told;
use crate::drivers::rabbit::connection::refusal::Fault;
use crate::drivers::rabbit::options::{Dialect, RabbitOptions};

/// How many refusals about other arguments are followed up.
const MOST: usize = 12;

const DELIVERIES: &str = "x-delivery-limit";
const MEMORY_LENGTH: &str = "x-max-in-memory-length";
const MEMORY_BYTES: &str = "x-max-in-memory-bytes";
/// The last argument that RabbitMQ compares of all that a queue of ours may have.
const LOCATOR: &str = "x-queue-leader-locator";
const ALTERNATE: &str = "alternate-exchange";

/// What no queue is declared with: so an argument that has this value is refused, that of a queue
/// that exists because it differs, and that of a new one because it is invalid.
const NONE_SUCH: &str = "?";

/// How long a queue or exchange stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
}

/// The limits that a quorum queue was declared with. Those of a policy never show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A negative one is none, where RabbitMQ has one by default.
    pub(crate) deliveries: Option<i64>,
    pub(crate) memory_length: Option<i64>,
    pub(crate) memory_bytes: Option<i64>,
}

impl Limits {
    /// With their names as arguments.
    pub(crate) fn named(self) -> [(&'static str, Option<i64>); 3] {
        [
            (DELIVERIES, self.deliveries),
            (MEMORY_LENGTH, self.memory_length),
            (MEMORY_BYTES, self.memory_bytes),
        ]
    }
}

/// What a queue is like, as far as it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) quorum: Option<bool>,
    pub(crate) stream: bool,
    pub(crate) limits: Limits,
}

impl Seen {
    pub(crate) fn durable(self) -> Option<bool> {
        self.lifetime.map(|lifetime| lifetime.durable)
    }
}

impl From<Style> for Seen {
    fn from(style: Style) -> Self {
        Self {
            lifetime: Some(style.lifetime),
            quorum: Some(style.quorum),
            stream: false,
            limits: style.limits,
        }
    }
}

/// How a queue is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) lifetime: Lifetime,
    pub(crate) quorum: bool,
    pub(crate) limits: Limits,
}

impl Style {
    /// As the options say.
    pub(crate) fn asked(options: &RabbitOptions) -> Self {
        let lifetime = Lifetime { durable: options.durable(), auto_delete: options.auto_delete() };
        if !options.quorum() {
            return Self { lifetime, quorum: false, limits: Limits::default() };
        }
        let given = |limit: i64| Some(limit).filter(|limit| *limit != 0);
        let limits = Limits {
            deliveries: given(options.rabbit_quorum_delivery_limit),
            memory_length: given(options.rabbit_quorum_max_memory_length.into()),
            memory_bytes: given(options.rabbit_quorum_max_memory_bytes.into()),
        };
        Self { lifetime, quorum: true, limits }
    }

    /// As a queue of no other program is declared where nothing shows what the deployment has.
    pub(crate) fn durable(options: &RabbitOptions) -> Self {
        let lifetime = Lifetime { durable: true, auto_delete: options.auto_delete() };
        Self { lifetime, quorum: false, limits: Limits::default() }
    }

    /// As a queue that was seen, as far as that showed.
    pub(crate) fn like(seen: Seen, options: &RabbitOptions) -> Self {
        let asked = Self::asked(options);
        let quorum = seen.quorum.unwrap_or(asked.quorum);
        let Lifetime { durable, auto_delete } = seen.lifetime.unwrap_or(asked.lifetime);
        Self {
            lifetime: Lifetime { durable: quorum || durable, auto_delete },
            quorum,
            limits: if seen.quorum.is_some() { seen.limits } else { asked.limits },
        }
    }

    /// As the options say; where they leave it open, as what exists shows. `lifetimes` are what
    /// exchanges and queues show, and `queues` what queues show, the best evidence first.
    pub(crate) fn of(
        options: &RabbitOptions,
        lifetimes: impl IntoIterator<Item = Option<Lifetime>>,
        queues: impl IntoIterator<Item = Seen>,
    ) -> Self {
        let asked = Self::asked(options);
        if !goes_by_evidence(options) {
            return asked;
        }
        let shown = lifetimes.into_iter().flatten().next().unwrap_or(asked.lifetime);
        let auto_delete = options.amqp_auto_delete.unwrap_or(shown.auto_delete);
        let lifetime = Lifetime { auto_delete, ..shown };
        let shown = queues.into_iter().find(|seen| seen.quorum.is_some());
        match shown {
            Some(Seen { quorum: Some(true), limits, .. }) if lifetime.durable => {
                Self { lifetime, quorum: true, limits }
            }
            _ => Self { lifetime, quorum: false, limits: Limits::default() },
        }
    }
}

/// Whether what exists shows how to declare what is missing: programs with oslo.messaging declare
/// the same, and the options leave it open.
pub(crate) fn goes_by_evidence(options: &RabbitOptions) -> bool {
    options.dialect == Dialect::Oslo
        && options.amqp_durable_queues.is_none()
        && options.rabbit_quorum_queue.is_none()
        && options.rabbit_ha_queues.is_none()
}

/// A declaration that is refused whatever the queue is like, again and again, with what the last
/// refusal told; a new queue is refused, too, if the one that was seen has vanished. It begins as
/// that of a durable queue of a type that does not exist. Once the type is known and is that of
/// quorum queues, it goes on to their limits.
pub(crate) struct Probe {
    pub(crate) options: QueueDeclareOptions,
    arguments: BTreeMap<ShortString, AMQPValue>,
    is_quorum: bool,
    left: usize,
}

/// What the refusal of a probe means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is to be asked again.
    Again,
    /// What the queue is like, as far as it shows.
    Seen(Seen),
    /// The queue has vanished.
    Gone,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self {
            options: QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() },
            arguments: BTreeMap::from([("x-queue-type".into(), text(NONE_SUCH))]),
            is_quorum: false,
            left: MOST,
        }
    }

    pub(crate) fn arguments(&self) -> FieldTable {
        FieldTable::from(self.arguments.clone())
    }

    /// What a refusal tells.
    pub(crate) fn refused(&mut self, fault: &Fault) -> Told {
        if is_of_a_new_queue(fault) {
            return Told::Gone;
        }
        let Fault::Broker { code: 406, text: refusal } = fault else {
            return Told::Seen(Seen::default());
        };
        match told(refusal) {
            Some(("durable", Some(AMQPValue::Boolean(is)))) => self.options.durable = is,
            Some(("auto_delete", Some(AMQPValue::Boolean(is)))) => self.options.auto_delete = is,
            Some(("x-queue-type", Some(kind))) if kind == text("quorum") => {
                self.is_quorum = true;
                self.arguments.insert("x-queue-type".into(), kind);
                self.arguments.insert(LOCATOR.into(), text(NONE_SUCH));
            }
            Some(("x-queue-type", kind)) => {
                let stream = kind == Some(text("stream"));
                return Told::Seen(Seen { quorum: Some(false), stream, ..self.so_far() });
            }
            Some((LOCATOR, _)) => return Told::Seen(self.so_far()),
            Some((name, Some(value))) => drop(self.arguments.insert(name.into(), value)),
            Some((name, None)) => drop(self.arguments.remove(name)),
            None => return Told::Seen(Seen::default()),
        }
        self.left -= 1;
        if self.left == 0 { Told::Seen(self.so_far()) } else { Told::Again }
    }

    /// What it is, as far as arguments were compared: RabbitMQ compares how long it stays before
    /// them.
    pub(crate) fn so_far(&self) -> Seen {
        let QueueDeclareOptions { durable, auto_delete, .. } = self.options;
        let lifetime = Some(Lifetime { durable, auto_delete });
        if !self.is_quorum {
            return Seen { lifetime, ..Seen::default() };
        }
        let number = |name| match self.arguments.get(name) {
            Some(AMQPValue::LongLongInt(limit)) => Some(*limit),
            _ => None,
        };
        let limits = Limits {
            deliveries: number(DELIVERIES),
            memory_length: number(MEMORY_LENGTH),
            memory_bytes: number(MEMORY_BYTES),
        };
        Seen { lifetime, quorum: Some(true), limits, ..Seen::default() }
    }
}

/// Arguments with one that comes last and that no new queue is declared with: whoever declares a
/// queue that exists with them compares the others.
pub(crate) fn compared(mut arguments: FieldTable) -> FieldTable {
    arguments.insert(LOCATOR.into(), text(NONE_SUCH));
    arguments
}

/// What a refusal of such arguments says of that last one: what the queue has in its place; none if
/// it is about another.
pub(crate) fn told_of_the_last(fault: &Fault) -> Option<Option<AMQPValue>> {
    let Fault::Broker { code: 406, text } = fault else { return None };
    let (name, value) = told(text)?;
    (name == LOCATOR).then_some(value)
}

/// Whether a refusal is that of a queue that does not exist, with an argument that none may have.
pub(crate) fn is_of_a_new_queue(fault: &Fault) -> bool {
    matches!(fault, Fault::Broker { code: 406, text }
        if told(text).is_none() && text.contains("invalid arg '"))
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// A declaration of an exchange: as `Probe`, but for its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExchangeProbe {
    pub(crate) kind: ExchangeKind,
    pub(crate) lifetime: Lifetime,
}

impl ExchangeProbe {
    /// Begins with what is likely.
    pub(crate) fn new(options: &RabbitOptions) -> Self {
        let lifetime = Lifetime { durable: true, auto_delete: options.auto_delete() };
        Self { kind: ExchangeKind::Topic, lifetime }
    }

    /// One that should be text, and that RabbitMQ compares last: so no exchange is declared by
    /// mistake.
    pub(crate) fn arguments() -> FieldTable {
        FieldTable::from(BTreeMap::from([(ALTERNATE.into(), AMQPValue::LongInt(0))]))
    }

    /// Whether it is to be asked again.
    pub(crate) fn refused(&mut self, fault: &Fault) -> bool {
        let Fault::Broker { code: 406, text } = fault else { return false };
        let old = self.clone();
        match told(text) {
            Some(("type", Some(AMQPValue::LongString(kind)))) => {
                self.kind = ExchangeKind::Custom(kind.to_string());
            }
            Some(("durable", Some(AMQPValue::Boolean(is)))) => self.lifetime.durable = is,
            Some(("auto_delete", Some(AMQPValue::Boolean(is)))) => self.lifetime.auto_delete = is,
            _ => {}
        }
        *self != old
    }

    /// Whether a refusal is about something that is compared once the lifetime is.
    pub(crate) fn is_about_the_rest(fault: &Fault) -> bool {
        let compared = ["type", "durable", "auto_delete"];
        matches!(fault, Fault::Broker { code: 406, text }
            if told(text).is_some_and(|(name, _)| !compared.contains(&name)))
    }

    /// Whether a refusal is that of an exchange that does not exist.
    pub(crate) fn is_of_a_new_one(fault: &Fault) -> bool {
        matches!(fault, Fault::Broker { code: 406, text }
            if told(text).is_none() && text.contains(ALTERNATE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAYS: Lifetime = Lifetime { durable: true, auto_delete: false };
    const GOES: Lifetime = Lifetime { durable: false, auto_delete: false };
    const NONE: Limits = Limits { deliveries: None, memory_length: None, memory_bytes: None };
    const NINE: Limits = Limits { deliveries: Some(9), memory_length: Some(5), ..NONE };
    const HIDDEN: Seen = Seen { lifetime: None, quorum: None, stream: false, limits: NONE };
    const CLASSIC: Seen = Seen { lifetime: Some(STAYS), quorum: Some(false), ..HIDDEN };
    const QUORUM: Seen = Seen { quorum: Some(true), limits: NINE, ..CLASSIC };
    const TRANSIENT: Seen = Seen { lifetime: Some(GOES), ..CLASSIC };

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
        let style = |lifetime, quorum, limits| Style { lifetime, quorum, limits };
        let with_consumers = Lifetime { durable: false, auto_delete: true };
        let table = [
            (vec![], vec![], style(GOES, false, NONE)),
            (vec![Some(GOES)], vec![], style(GOES, false, NONE)),
            (vec![Some(STAYS)], vec![], style(STAYS, false, NONE)),
            (vec![Some(with_consumers)], vec![], style(with_consumers, false, NONE)),
            (vec![None, Some(STAYS), Some(GOES)], vec![HIDDEN], style(STAYS, false, NONE)),
            (vec![Some(STAYS)], vec![HIDDEN, QUORUM], style(STAYS, true, NINE)),
            (vec![Some(STAYS)], vec![CLASSIC, QUORUM], style(STAYS, false, NONE)),
            // The exchange decides: whoever has other settings cannot use it.
            (vec![Some(GOES), Some(STAYS)], vec![QUORUM], style(GOES, false, NONE)),
            (vec![Some(GOES)], vec![TRANSIENT], style(GOES, false, NONE)),
        ];
        for (lifetimes, queues, expected) in table {
            let found = Style::of(&options("rabbit://h"), lifetimes.clone(), queues.clone());
            assert_eq!(found, expected, "{lifetimes:?} {queues:?}");
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
            let exchange = exchange.map(|durable| Lifetime { durable, auto_delete: true });
            let found = Style::of(&options(url), [exchange], [queue]);
            assert_eq!((found.lifetime.durable, found.quorum), (durable, quorum), "{url}");
            assert!(!found.lifetime.auto_delete, "{url}");
        }
    }

    #[test]
    fn auto_delete_that_is_given_leaves_the_rest_to_what_exists() {
        for is in [false, true] {
            let options = options(&format!("rabbit://h?amqp_auto_delete={is}"));
            let other = Lifetime { durable: true, auto_delete: !is };
            let found = Style::of(&options, [Some(other)], []).lifetime;
            assert_eq!(found, Lifetime { durable: true, auto_delete: is });
        }
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
        let seen = |current| Probe::new().refused(&refusal("x-queue-type", current));
        assert_eq!(seen("none"), Told::Seen(CLASSIC));
        assert_eq!(seen("the value 'classic' of type 'longstr'"), Told::Seen(CLASSIC));
        let stream = Told::Seen(Seen { stream: true, ..CLASSIC });
        assert_eq!(seen("the value 'stream' of type 'longstr'"), stream);
        assert_eq!(seen("'stream'"), stream);
        let forbidden = Fault::Broker { code: 403, text: "ACCESS_REFUSED".to_owned() };
        assert_eq!(Probe::new().refused(&forbidden), Told::Seen(HIDDEN));
        let text =
            "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'q' in vhost '/': ..";
        let gone = Fault::Broker { code: 406, text: text.to_owned() };
        assert_eq!(Probe::new().refused(&gone), Told::Gone);
    }

    #[test]
    fn what_a_refusal_tells_is_taken_over_and_it_is_asked_again() {
        let mut probe = Probe::new();
        for argument in ["durable", "auto_delete"] {
            let is = probe.options.auto_delete || argument == "auto_delete";
            assert_eq!(probe.refused(&refusal(argument, &format!("'{is}'"))), Told::Again);
        }
        assert_eq!((probe.options.durable, probe.options.auto_delete), (false, true));
        let with_consumers = Some(Lifetime { durable: false, auto_delete: true });
        let classic = probe.refused(&refusal("x-queue-type", "none"));
        assert_eq!(classic, Told::Seen(Seen { lifetime: with_consumers, ..CLASSIC }));

        let mut probe = Probe::new();
        let other = refusal("x-max-length", "the value '10' of type 'signedint'");
        assert_eq!(probe.refused(&other), Told::Again);
        assert_eq!(
            probe.arguments().inner().get("x-max-length"),
            Some(&AMQPValue::LongLongInt(10))
        );
        assert_eq!(probe.refused(&refusal("x-queue-type", "'quorum'")), Told::Again);
        for (name, limit) in NINE.named() {
            let Some(limit) = limit else { continue };
            let current = format!("the value '{limit}' of type 'signedint'");
            assert_eq!(probe.refused(&refusal(name, &current)), Told::Again);
        }
        for current in ["none", "the value 'balanced' of type 'longstr'"] {
            assert_eq!(probe.refused(&refusal(LOCATOR, current)), Told::Seen(QUORUM));
        }
        let mut probe = Probe::new();
        let told = (0..MOST).map(|_| probe.refused(&other)).find(|told| *told != Told::Again);
        assert_eq!(told, Some(Told::Seen(Seen { quorum: None, ..CLASSIC })));
    }

    #[test]
    fn a_negative_limit_is_taken_over_and_declared() {
        let mut probe = Probe::new();
        probe.refused(&refusal("x-queue-type", "'quorum'"));
        probe.refused(&refusal(DELIVERIES, "the value '-1' of type 'signedint'"));
        let seen = probe.so_far();
        assert_eq!(seen.limits.deliveries, Some(-1));
        let like = Style::like(seen, &options("rabbit://h"));
        assert_eq!(like.limits, seen.limits);
        let asked = options("rabbit://h?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=-1");
        assert_eq!(Style::asked(&asked).limits, seen.limits);
    }

    #[test]
    fn the_refusals_tell_how_long_an_exchange_stays() {
        let mut probe = ExchangeProbe { kind: ExchangeKind::Topic, lifetime: STAYS };
        assert!(probe.refused(&refusal("durable", "'false'")));
        assert!(probe.refused(&refusal("auto_delete", "'true'")));
        assert!(probe.refused(&refusal("type", "'fanout'")));
        let lifetime = Lifetime { durable: false, auto_delete: true };
        let kind = ExchangeKind::Custom("fanout".to_owned());
        assert_eq!(probe, ExchangeProbe { kind, lifetime });
        // The same again, and what is compared after all of that.
        for (name, is_after) in
            [("auto_delete", false), ("type", false), ("internal", true), ("alternate", true)]
        {
            let fault = refusal(name, if name == "type" { "'fanout'" } else { "'true'" });
            assert!(!probe.refused(&fault), "{name}");
            assert_eq!(ExchangeProbe::is_about_the_rest(&fault), is_after, "{name}");
            assert!(!ExchangeProbe::is_of_a_new_one(&fault), "{name}");
        }
        let text = "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'nova' in vhost '/'";
        let fault = Fault::Broker { code: 406, text: text.to_owned() };
        assert!(!probe.refused(&fault) && !ExchangeProbe::is_about_the_rest(&fault));
        assert!(ExchangeProbe::is_of_a_new_one(&fault));
    }
}
