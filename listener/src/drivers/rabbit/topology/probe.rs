//! Declarations that find out the properties of existing queues and exchanges from their refusals, and
//! change nothing. Decisions only; `inspect.rs` sends the declarations.

use std::collections::BTreeMap;

use lapin::ExchangeKind;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::properties::{
    DELIVERY_LIMIT_ARG, Lifetime, Limits, MEMORY_BYTES_ARG, MEMORY_LENGTH_ARG, QueueProperties,
    QueueType, text,
};
use crate::drivers::rabbit::connection::failure::Fault;
use crate::drivers::rabbit::connection::refusal::{Current, Refusal};
use crate::drivers::rabbit::options::RabbitOptions;

/// How many refusals about other arguments are followed up.
pub(super) const MAX_ARGUMENTS: usize = 12;

/// The last argument that RabbitMQ compares of those with which this driver declares queues.
const LEADER_LOCATOR_ARG: &str = "x-queue-leader-locator";
const ALTERNATE_EXCHANGE_ARG: &str = "alternate-exchange";

/// A value that no queue has: an argument with it is refused, for an existing queue because it differs,
/// and for a new one because it is invalid.
const INVALID: &str = "?";

/// What the refusal of a probe means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeStep<T> {
    /// The declaration is to be repeated.
    Repeat,
    /// The probe has ended, with this result.
    Done(T),
}

/// A declaration of a queue that is repeated with what each refusal says.
pub(super) struct ProbeDeclaration {
    pub(super) options: QueueDeclareOptions,
    pub(super) arguments: BTreeMap<ShortString, AMQPValue>,
}

impl ProbeDeclaration {
    pub(super) fn arguments(&self) -> FieldTable {
        FieldTable::from(self.arguments.clone())
    }

    /// Adopts the value that an argument of the queue has; none if it is not set.
    pub(super) fn adopt(&mut self, argument: &str, value: Option<AMQPValue>) {
        match (argument, value) {
            ("durable", Some(AMQPValue::Boolean(value))) => self.options.durable = value,
            ("auto_delete", Some(AMQPValue::Boolean(value))) => self.options.auto_delete = value,
            (name, Some(value)) => drop(self.arguments.insert(name.into(), value)),
            (name, None) => drop(self.arguments.remove(name)),
        }
    }
}

/// A declaration that is refused whatever the properties of the queue are, and even if the queue is
/// deleted meanwhile. It is repeated with what each refusal says. It begins as a durable queue of an
/// invalid type; once the type is known to be that of quorum queues, it goes on to their limits.
pub(crate) struct QueueProbe {
    declaration: ProbeDeclaration,
    is_quorum: bool,
    left: usize,
}

impl QueueProbe {
    pub(crate) fn new() -> Self {
        let declaration = ProbeDeclaration {
            options: QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() },
            arguments: BTreeMap::from([("x-queue-type".into(), text(INVALID))]),
        };
        Self { declaration, is_quorum: false, left: MAX_ARGUMENTS }
    }

    /// How to declare the queue next.
    pub(crate) fn declaration(&self) -> (QueueDeclareOptions, FieldTable) {
        (self.declaration.options, self.declaration.arguments())
    }

    /// What a refusal says: the properties of the queue, as far as they are visible; none if the queue
    /// does not exist any more.
    pub(crate) fn refused(&mut self, fault: &Fault) -> ProbeStep<Option<QueueProperties>> {
        if means_missing(fault) {
            return ProbeStep::Done(None);
        }
        let Some((argument, current)) = difference(fault) else {
            return ProbeStep::Done(Some(QueueProperties::default()));
        };
        match (argument.as_str(), current) {
            ("x-queue-type", Some(kind)) if kind == text("quorum") => {
                self.is_quorum = true;
                let arguments = &mut self.declaration.arguments;
                arguments.insert("x-queue-type".into(), kind);
                arguments.insert(LEADER_LOCATOR_ARG.into(), text(INVALID));
            }
            ("x-queue-type", kind) => {
                let is_stream = kind == Some(text("stream"));
                let queue_type = if is_stream { QueueType::Stream } else { QueueType::Classic };
                let properties =
                    QueueProperties { queue_type: Some(queue_type), ..self.properties() };
                return ProbeStep::Done(Some(properties));
            }
            (LEADER_LOCATOR_ARG, _) => return ProbeStep::Done(Some(self.properties())),
            (name, value) => self.declaration.adopt(name, value),
        }
        self.left -= 1;
        if self.left == 0 { ProbeStep::Done(Some(self.properties())) } else { ProbeStep::Repeat }
    }

    /// The properties, as far as RabbitMQ has compared them: it compares the lifetime before the
    /// arguments.
    pub(crate) fn properties(&self) -> QueueProperties {
        let QueueDeclareOptions { durable, auto_delete, .. } = self.declaration.options;
        let lifetime = Some(Lifetime { durable, auto_delete });
        if !self.is_quorum {
            return QueueProperties { lifetime, ..QueueProperties::default() };
        }
        let number = |name| match self.declaration.arguments.get(name) {
            Some(AMQPValue::LongLongInt(limit)) => Some(*limit),
            _ => None,
        };
        let limits = Limits {
            deliveries: number(DELIVERY_LIMIT_ARG),
            memory_length: number(MEMORY_LENGTH_ARG),
            memory_bytes: number(MEMORY_BYTES_ARG),
        };
        QueueProperties { lifetime, queue_type: Some(QueueType::Quorum), limits }
    }
}

/// Adds an argument that RabbitMQ compares last, with a value that it refuses for a new queue: a refusal
/// about it shows that all other arguments are equal, and no queue is ever declared.
pub(crate) fn with_refused_argument(mut arguments: FieldTable) -> FieldTable {
    arguments.insert(LEADER_LOCATOR_ARG.into(), text(INVALID));
    arguments
}

/// How an existing queue compares with a declaration that has this last argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    /// The queue has the last argument as well: it is to be compared without it.
    Undecided,
    Different,
}

/// What the refusal of such a declaration says: if it is about the last argument, all others are equal.
pub(crate) fn comparison(fault: &Fault) -> Comparison {
    match difference(fault) {
        Some((argument, None)) if argument == LEADER_LOCATOR_ARG => Comparison::Equal,
        Some((argument, Some(_))) if argument == LEADER_LOCATOR_ARG => Comparison::Undecided,
        _ => Comparison::Different,
    }
}

/// Whether the refusal is that of a missing queue, because of an argument that no queue may have.
pub(crate) fn means_missing(fault: &Fault) -> bool {
    matches!(fault.refusal(), Some(Refusal::InvalidArgument(_)))
}

/// The argument that differs, and the value that it has.
pub(super) fn difference(fault: &Fault) -> Option<(String, Option<AMQPValue>)> {
    let inequivalent = fault.inequivalent()?;
    let current = match inequivalent.current() {
        Current::NotSet => None,
        Current::Value(value) => Some(value),
        Current::Unknown => return None,
    };
    Some((inequivalent.argument, current))
}

/// As `QueueProbe`, of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExchangeProbe {
    pub(crate) kind: ExchangeKind,
    pub(crate) lifetime: Lifetime,
}

impl ExchangeProbe {
    /// Begins with the likely type and lifetime.
    pub(crate) fn new(options: &RabbitOptions) -> Self {
        let lifetime = Lifetime { durable: true, auto_delete: options.auto_delete() };
        Self { kind: ExchangeKind::Topic, lifetime }
    }

    /// A number where RabbitMQ expects text, compared last, so that no exchange is ever declared.
    pub(crate) fn arguments() -> FieldTable {
        FieldTable::from(BTreeMap::from([(ALTERNATE_EXCHANGE_ARG.into(), AMQPValue::LongInt(0))]))
    }

    /// Whether the declaration is to be repeated.
    pub(crate) fn refused(&mut self, fault: &Fault) -> bool {
        let Some((argument, current)) = difference(fault) else { return false };
        let old = self.clone();
        match (argument.as_str(), current) {
            ("type", Some(AMQPValue::LongString(kind))) => {
                self.kind = ExchangeKind::Custom(kind.to_string());
            }
            ("durable", Some(AMQPValue::Boolean(value))) => self.lifetime.durable = value,
            ("auto_delete", Some(AMQPValue::Boolean(value))) => {
                self.lifetime.auto_delete = value;
            }
            _ => {}
        }
        *self != old
    }

    /// Whether the refusal is about an argument that is compared after the lifetime.
    pub(crate) fn concerns_other_argument(fault: &Fault) -> bool {
        let compared = ["type", "durable", "auto_delete"];
        // The current value may be missing: RabbitMQ cuts long texts.
        fault
            .inequivalent()
            .is_some_and(|difference| !compared.contains(&difference.argument.as_str()))
    }

    /// Whether the refusal is that of a missing exchange.
    pub(crate) fn means_missing(fault: &Fault) -> bool {
        fault.refusal() == Some(Refusal::InvalidArgument(ALTERNATE_EXCHANGE_ARG.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::declaration::QueueDeclaration;
    use super::super::properties::samples::{CLASSIC, DURABLE, HIDDEN, NINE, QUORUM, options};
    use super::*;

    fn refusal(argument: &str, current: &str) -> Fault {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received .. but current is {current}"
        );
        Fault::Broker { code: 406, text }
    }

    #[test]
    fn the_refusals_show_the_properties_of_a_queue() {
        let seen = |current| QueueProbe::new().refused(&refusal("x-queue-type", current));
        assert_eq!(seen("none"), ProbeStep::Done(Some(CLASSIC)));
        assert_eq!(seen("the value 'classic' of type 'longstr'"), ProbeStep::Done(Some(CLASSIC)));
        let stream = ProbeStep::Done(Some(QueueProperties {
            queue_type: Some(QueueType::Stream),
            ..CLASSIC
        }));
        assert_eq!(seen("the value 'stream' of type 'longstr'"), stream);
        assert_eq!(seen("'stream'"), stream);
        let forbidden = Fault::Broker { code: 403, text: "ACCESS_REFUSED".to_owned() };
        assert_eq!(QueueProbe::new().refused(&forbidden), ProbeStep::Done(Some(HIDDEN)));
        let text =
            "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'q' in vhost '/': ..";
        let gone = Fault::Broker { code: 406, text: text.to_owned() };
        assert_eq!(QueueProbe::new().refused(&gone), ProbeStep::Done(None));
    }

    #[test]
    fn what_a_refusal_says_is_adopted_and_the_declaration_is_repeated() {
        let mut probe = QueueProbe::new();
        for argument in ["durable", "auto_delete"] {
            let value = probe.declaration.options.auto_delete || argument == "auto_delete";
            assert_eq!(probe.refused(&refusal(argument, &format!("'{value}'"))), ProbeStep::Repeat);
        }
        let QueueDeclareOptions { durable, auto_delete, .. } = probe.declaration().0;
        assert_eq!((durable, auto_delete), (false, true));
        let with_consumers = Some(Lifetime { durable: false, auto_delete: true });
        let classic = probe.refused(&refusal("x-queue-type", "none"));
        assert_eq!(
            classic,
            ProbeStep::Done(Some(QueueProperties { lifetime: with_consumers, ..CLASSIC }))
        );

        let mut probe = QueueProbe::new();
        let other = refusal("x-max-length", "the value '10' of type 'signedint'");
        assert_eq!(probe.refused(&other), ProbeStep::Repeat);
        assert_eq!(
            probe.declaration().1.inner().get("x-max-length"),
            Some(&AMQPValue::LongLongInt(10))
        );
        assert_eq!(probe.refused(&refusal("x-queue-type", "'quorum'")), ProbeStep::Repeat);
        for (name, limit) in NINE.named() {
            let Some(limit) = limit else { continue };
            let current = format!("the value '{limit}' of type 'signedint'");
            assert_eq!(probe.refused(&refusal(name, &current)), ProbeStep::Repeat);
        }
        for current in ["none", "the value 'balanced' of type 'longstr'"] {
            assert_eq!(
                probe.refused(&refusal(LEADER_LOCATOR_ARG, current)),
                ProbeStep::Done(Some(QUORUM))
            );
        }
        let mut probe = QueueProbe::new();
        let probed = (0..MAX_ARGUMENTS)
            .map(|_| probe.refused(&other))
            .find(|probed| *probed != ProbeStep::Repeat);
        assert_eq!(
            probed,
            Some(ProbeStep::Done(Some(QueueProperties { queue_type: None, ..CLASSIC })))
        );
    }

    #[test]
    fn a_negative_limit_is_adopted_and_declared() {
        let mut probe = QueueProbe::new();
        probe.refused(&refusal("x-queue-type", "'quorum'"));
        probe.refused(&refusal(DELIVERY_LIMIT_ARG, "the value '-1' of type 'signedint'"));
        let seen = probe.properties();
        assert_eq!(seen.limits.deliveries, Some(-1));
        let like = QueueDeclaration::same_as(seen, &options("rabbit://h"));
        assert_eq!(like.limits, seen.limits);
        let asked = options("rabbit://h?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=-1");
        assert_eq!(QueueDeclaration::from_options(&asked).limits, seen.limits);
    }

    #[test]
    fn the_refusals_show_the_lifetime_of_an_exchange() {
        let mut probe = ExchangeProbe { kind: ExchangeKind::Topic, lifetime: DURABLE };
        assert!(probe.refused(&refusal("durable", "'false'")));
        assert!(probe.refused(&refusal("auto_delete", "'true'")));
        assert!(probe.refused(&refusal("type", "'fanout'")));
        let lifetime = Lifetime { durable: false, auto_delete: true };
        let kind = ExchangeKind::Custom("fanout".to_owned());
        assert_eq!(probe, ExchangeProbe { kind, lifetime });
        // The same again, and arguments that are compared later.
        for (name, is_after) in
            [("auto_delete", false), ("type", false), ("internal", true), ("alternate", true)]
        {
            let fault = refusal(name, if name == "type" { "'fanout'" } else { "'true'" });
            assert!(!probe.refused(&fault), "{name}");
            assert_eq!(ExchangeProbe::concerns_other_argument(&fault), is_after, "{name}");
            assert!(!ExchangeProbe::means_missing(&fault), "{name}");
        }
        // RabbitMQ cuts texts of more than 252 bytes, here the current value.
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '{}' in vhost ...",
            "n".repeat(160)
        );
        let fault = Fault::Broker { code: 406, text };
        assert!(!probe.refused(&fault) && ExchangeProbe::concerns_other_argument(&fault));
        let text = "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'nova' in vhost '/'";
        let fault = Fault::Broker { code: 406, text: text.to_owned() };
        assert!(!probe.refused(&fault) && !ExchangeProbe::concerns_other_argument(&fault));
        assert!(ExchangeProbe::means_missing(&fault));
    }
}
