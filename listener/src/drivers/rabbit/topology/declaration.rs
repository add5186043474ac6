//! How missing queues and exchanges are declared so that the deployment's other programs can declare
//! them as well. Decisions only; `declare.rs` sends the declarations.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::properties::{Lifetime, Limits, QueueProperties, QueueType, text};
use crate::drivers::rabbit::options::{Dialect, RabbitOptions};

impl From<QueueDeclaration> for QueueProperties {
    fn from(declaration: QueueDeclaration) -> Self {
        Self {
            lifetime: Some(declaration.lifetime),
            queue_type: Some(declaration.queue_type),
            limits: declaration.limits,
        }
    }
}

/// How a queue is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueDeclaration {
    pub(crate) lifetime: Lifetime,
    pub(crate) queue_type: QueueType,
    pub(crate) limits: Limits,
}

impl QueueDeclaration {
    /// As the options ask.
    pub(crate) fn from_options(options: &RabbitOptions) -> Self {
        let lifetime = Lifetime { durable: options.durable(), auto_delete: options.auto_delete() };
        if !options.quorum() {
            return Self { lifetime, queue_type: QueueType::Classic, limits: Limits::default() };
        }
        let given = |limit: i64| Some(limit).filter(|limit| *limit != 0);
        let limits = Limits {
            deliveries: given(options.rabbit_quorum_delivery_limit),
            memory_length: given(options.rabbit_quorum_max_memory_length.into()),
            memory_bytes: given(options.rabbit_quorum_max_memory_bytes.into()),
        };
        Self { lifetime, queue_type: QueueType::Quorum, limits }
    }

    /// Durable: as a queue that no other program declares, if nothing shows what the deployment uses.
    pub(crate) fn durable_without_type(options: &RabbitOptions) -> Self {
        let lifetime = Lifetime { durable: true, auto_delete: options.auto_delete() };
        Self { lifetime, queue_type: QueueType::Classic, limits: Limits::default() }
    }

    /// As a queue that was seen, as far as its properties were visible.
    pub(crate) fn same_as(seen: QueueProperties, options: &RabbitOptions) -> Self {
        let asked = Self::from_options(options);
        let queue_type = seen.queue_type.unwrap_or(asked.queue_type);
        let Lifetime { durable, auto_delete } = seen.lifetime.unwrap_or(asked.lifetime);
        Self {
            lifetime: Lifetime {
                durable: queue_type != QueueType::Classic || durable,
                auto_delete,
            },
            queue_type,
            limits: if seen.queue_type.is_some() { seen.limits } else { asked.limits },
        }
    }

    /// Follows the options; where they leave something open, follows the queues and exchanges that
    /// exist: the first known lifetime of `lifetimes` and the first known type of `queues`, which are
    /// sorted by how reliable they are.
    pub(crate) fn from_evidence(
        options: &RabbitOptions,
        lifetimes: impl IntoIterator<Item = Option<Lifetime>>,
        queues: impl IntoIterator<Item = QueueProperties>,
    ) -> Self {
        let asked = Self::from_options(options);
        if !goes_by_evidence(options) {
            return asked;
        }
        let lifetime = lifetimes.into_iter().flatten().next().unwrap_or(asked.lifetime);
        let auto_delete = options.amqp_auto_delete.unwrap_or(lifetime.auto_delete);
        let lifetime = Lifetime { auto_delete, ..lifetime };
        match queues.into_iter().find(|seen| seen.queue_type.is_some()) {
            Some(QueueProperties { queue_type: Some(QueueType::Quorum), limits, .. })
                if lifetime.durable =>
            {
                Self { lifetime, queue_type: QueueType::Quorum, limits }
            }
            _ => Self { lifetime, queue_type: QueueType::Classic, limits: Limits::default() },
        }
    }

    pub(crate) fn options(self) -> QueueDeclareOptions {
        let Lifetime { durable, auto_delete } = self.lifetime;
        QueueDeclareOptions { durable, auto_delete, ..QueueDeclareOptions::default() }
    }

    /// The arguments, as oslo.messaging declares them. `expires`: the queue is deleted after this time
    /// without consumers.
    pub(crate) fn arguments(
        self,
        options: &RabbitOptions,
        expires: Option<Duration>,
    ) -> FieldTable {
        let mut table = FieldTable::default();
        if let Some(expires) = expires {
            // RabbitMQ refuses 0.
            let millis = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX).max(1);
            table.insert("x-expires".into(), AMQPValue::LongLongInt(millis));
        }
        if options.rabbit_ha_queues == Some(true) {
            table.insert("x-ha-policy".into(), text("all"));
        }
        match self.queue_type {
            QueueType::Quorum => {
                table.insert("x-queue-type".into(), text("quorum"));
                for (name, limit) in self.limits.named() {
                    let Some(limit) = limit else { continue };
                    table.insert(name.into(), AMQPValue::LongLongInt(limit));
                }
            }
            // Only one that was seen, and has vanished.
            QueueType::Stream => drop(table.insert("x-queue-type".into(), text("stream"))),
            QueueType::Classic => {}
        }
        table
    }
}

/// Whether existing queues and exchanges decide how missing ones are declared: programs with
/// oslo.messaging declare the same, and the options leave it open.
pub(crate) fn goes_by_evidence(options: &RabbitOptions) -> bool {
    options.dialect == Dialect::Oslo && !options.chooses_queue_type()
}

#[cfg(test)]
mod tests {
    use lapin::types::ShortString;

    use super::super::properties::samples::*;
    use super::*;

    #[test]
    fn what_exists_decides_how_the_rest_is_declared() {
        let declaration = |lifetime, is_quorum, limits| {
            let queue_type = if is_quorum { QueueType::Quorum } else { QueueType::Classic };
            QueueDeclaration { lifetime, queue_type, limits }
        };
        let with_consumers = Lifetime { durable: false, auto_delete: true };
        let table = [
            (vec![], vec![], declaration(TRANSIENT_LIFETIME, false, NONE)),
            (vec![Some(TRANSIENT_LIFETIME)], vec![], declaration(TRANSIENT_LIFETIME, false, NONE)),
            (vec![Some(DURABLE)], vec![], declaration(DURABLE, false, NONE)),
            (vec![Some(with_consumers)], vec![], declaration(with_consumers, false, NONE)),
            (
                vec![None, Some(DURABLE), Some(TRANSIENT_LIFETIME)],
                vec![HIDDEN],
                declaration(DURABLE, false, NONE),
            ),
            (vec![Some(DURABLE)], vec![HIDDEN, QUORUM], declaration(DURABLE, true, NINE)),
            (vec![Some(DURABLE)], vec![CLASSIC, QUORUM], declaration(DURABLE, false, NONE)),
            // The exchange decides: programs with other settings cannot use it.
            (
                vec![Some(TRANSIENT_LIFETIME), Some(DURABLE)],
                vec![QUORUM],
                declaration(TRANSIENT_LIFETIME, false, NONE),
            ),
            (
                vec![Some(TRANSIENT_LIFETIME)],
                vec![TRANSIENT],
                declaration(TRANSIENT_LIFETIME, false, NONE),
            ),
        ];
        for (lifetimes, queues, expected) in table {
            let found = QueueDeclaration::from_evidence(
                &options("rabbit://h"),
                lifetimes.clone(),
                queues.clone(),
            );
            assert_eq!(found, expected, "{lifetimes:?} {queues:?}");
        }
    }

    #[test]
    fn given_options_decide_whatever_exists() {
        let table = [
            ("rabbit://h?amqp_durable_queues=true", Some(false), TRANSIENT, true, false),
            ("rabbit://h?amqp_durable_queues=false", Some(true), QUORUM, false, false),
            ("rabbit://h?rabbit_quorum_queue=true", Some(false), TRANSIENT, true, true),
            ("amqp://h", Some(false), TRANSIENT, true, false),
            ("amqp://h?rabbit_quorum_queue=true", Some(false), CLASSIC, true, true),
        ];
        for (url, exchange, queue, durable, quorum) in table {
            let exchange = exchange.map(|durable| Lifetime { durable, auto_delete: true });
            let found = QueueDeclaration::from_evidence(&options(url), [exchange], [queue]);
            assert_eq!(
                (found.lifetime.durable, found.queue_type == QueueType::Quorum),
                (durable, quorum),
                "{url}"
            );
            assert!(!found.lifetime.auto_delete, "{url}");
        }
    }

    #[test]
    fn a_given_auto_delete_leaves_the_rest_to_what_exists() {
        for value in [false, true] {
            let options = options(&format!("rabbit://h?amqp_auto_delete={value}"));
            let other = Lifetime { durable: true, auto_delete: !value };
            let found = QueueDeclaration::from_evidence(&options, [Some(other)], []).lifetime;
            assert_eq!(found, Lifetime { durable: true, auto_delete: value });
        }
    }

    #[test]
    fn a_vanished_queue_is_declared_as_it_was() {
        let options = options("rabbit://h");
        assert_eq!(QueueProperties::from(QueueDeclaration::same_as(QUORUM, &options)), QUORUM);
        assert_eq!(
            QueueProperties::from(QueueDeclaration::same_as(TRANSIENT, &options)),
            TRANSIENT
        );
        let stream = QueueProperties { queue_type: Some(QueueType::Stream), ..CLASSIC };
        let declaration = QueueDeclaration::same_as(stream, &options);
        assert_eq!(QueueProperties::from(declaration), stream);
        let arguments = declaration.arguments(&options, None);
        assert_eq!(arguments.inner().get("x-queue-type"), Some(&text("stream")));
        assert_eq!(
            QueueDeclaration::same_as(HIDDEN, &options),
            QueueDeclaration::from_options(&options)
        );
    }

    #[test]
    fn the_arguments_are_those_that_the_options_ask_for() {
        let names = |options: &RabbitOptions, expires| -> Vec<String> {
            let table = QueueDeclaration::from_options(options).arguments(options, expires);
            let pair = |(name, value): (&ShortString, &AMQPValue)| format!("{name}={value:?}");
            table.into_iter().map(pair).collect()
        };
        assert_eq!(names(&RabbitOptions::default(), None), [""; 0]);
        assert_eq!(
            names(&RabbitOptions::default(), Some(Duration::from_secs(2))),
            ["x-expires=LongLongInt(2000)"]
        );
        let quorum = RabbitOptions {
            rabbit_quorum_queue: Some(true),
            rabbit_quorum_delivery_limit: 7,
            ..RabbitOptions::default()
        };
        let found = names(&quorum, None);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "x-delivery-limit=LongLongInt(7)");
        assert!(found[1].starts_with("x-queue-type=LongString"), "{found:?}");
    }
}
