//! Dead-letter queues, quarantine queues and journals: their types and arguments. They are durable and
//! are not deleted without a consumer, whatever the options are. Decisions only; `destination.rs`
//! declares them.

use lapin::types::{AMQPValue, FieldTable};

use super::broker_state::Feature;
use super::properties::{QueueType, text};
use crate::drivers::rabbit::connection::failure::Fault;
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::options::RabbitOptions;

/// The size at which a journal drops its oldest entries, and the size of the segments that it drops, in
/// bytes.
const JOURNAL_BYTES: i64 = 8 * 1024 * 1024;
const JOURNAL_SEGMENT: i64 = 1024 * 1024;

/// The types of a quarantine queue, in order of preference.
pub(crate) fn quarantine_types(version: Option<Version>) -> &'static [QueueType] {
    match version {
        Some(version) if version.has_quorum_queues() => &[QueueType::Quorum, QueueType::Classic],
        _ => &[QueueType::Classic],
    }
}

/// The types of a dead-letter queue, in order of preference: as the options ask of the work queues.
pub(crate) fn dead_letter_types(options: &RabbitOptions) -> &'static [QueueType] {
    if options.quorum() { &[QueueType::Quorum, QueueType::Classic] } else { &[QueueType::Classic] }
}

/// The feature that this type needs, if a flag can disable it.
pub(crate) const fn feature(queue_type: QueueType) -> Option<Feature> {
    match queue_type {
        QueueType::Quorum => Some(Feature::QuorumQueues),
        QueueType::Stream => Some(Feature::Streams),
        QueueType::Classic => None,
    }
}

/// The feature that is disabled, if the refusal of a queue of this type says so.
pub(crate) fn disabled_feature(queue_type: QueueType, refusal: &Fault) -> Option<Feature> {
    feature(queue_type).filter(|_| refusal.is_disabled_feature())
}

pub(crate) fn arguments(queue_type: QueueType, version: Option<Version>) -> FieldTable {
    let mut table = FieldTable::default();
    let mut set = |name: &str, value| {
        table.insert(name.into(), value);
    };
    match queue_type {
        QueueType::Quorum => {
            set("x-queue-type", text("quorum"));
            // Since RabbitMQ 4.0 a quorum queue drops a message after 20 redeliveries, unless it is
            // declared without a limit. A graceful shutdown redelivers as well, and so does
            // whoever inspects dead letters.
            if version.and_then(Version::default_delivery_limit).is_some() {
                set("x-delivery-limit", AMQPValue::LongLongInt(-1));
            }
        }
        // Explicit, because the default of a virtual host may differ.
        QueueType::Classic => set("x-queue-type", text("classic")),
        QueueType::Stream => {
            set("x-queue-type", text("stream"));
            set("x-max-length-bytes", AMQPValue::LongLongInt(JOURNAL_BYTES));
            set("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(JOURNAL_SEGMENT));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_about_a_feature_flag_disables_a_feature() {
        let refusal = |code, text: &str| Fault::Broker { code, text: text.to_owned() };
        let flag = refusal(541, "INTERNAL_ERROR - feature flag stream_queue is disabled");
        let timeout = refusal(541, "INTERNAL_ERROR - timeout");
        let disabled = |queue_type: QueueType| disabled_feature(queue_type, &flag);
        assert_eq!(disabled(QueueType::Quorum), Some(Feature::QuorumQueues));
        assert_eq!(disabled(QueueType::Stream), Some(Feature::Streams));
        assert_eq!(disabled(QueueType::Classic), None);
        for queue_type in [QueueType::Quorum, QueueType::Stream, QueueType::Classic] {
            assert_eq!(disabled_feature(queue_type, &timeout), None, "{queue_type:?}");
        }
    }

    fn names(queue_type: QueueType, version: Option<Version>) -> Vec<String> {
        let said = |value: &AMQPValue| match value {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        let table = arguments(queue_type, version);
        table.inner().iter().map(|(name, value)| format!("{name}={}", said(value))).collect()
    }

    #[test]
    fn the_arguments_for_each_version() {
        let (old, new) = (Some(Version::new(3, 13)), Some(Version::new(4, 0)));
        assert_eq!(names(QueueType::Quorum, old), ["x-queue-type=quorum"]);
        assert_eq!(names(QueueType::Quorum, new), ["x-delivery-limit=-1", "x-queue-type=quorum"]);
        assert_eq!(names(QueueType::Classic, new), ["x-queue-type=classic"]);
        assert_eq!(
            names(QueueType::Stream, new),
            [
                "x-max-length-bytes=8388608",
                "x-queue-type=stream",
                "x-stream-max-segment-size-bytes=1048576"
            ]
        );
    }

    #[test]
    fn dead_letters_are_in_a_quorum_queue_where_that_is_asked_for() {
        let kind = |rabbit_quorum_queue| {
            dead_letter_types(&RabbitOptions { rabbit_quorum_queue, ..RabbitOptions::default() })
        };
        assert_eq!(kind(None), [QueueType::Classic]);
        assert_eq!(kind(Some(false)), [QueueType::Classic]);
        assert_eq!(kind(Some(true)), [QueueType::Quorum, QueueType::Classic]);
    }

    #[test]
    fn the_types_for_each_version() {
        assert_eq!(quarantine_types(None), [QueueType::Classic]);
        assert_eq!(quarantine_types(Some(Version::new(3, 7))), [QueueType::Classic]);
        assert_eq!(
            quarantine_types(Some(Version::new(3, 10))),
            [QueueType::Quorum, QueueType::Classic]
        );
    }
}
