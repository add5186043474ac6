//! Dead-letter queues, quarantine queues and journals: of which type they are, and with which
//! arguments. They are durable, and stay without a consumer, whatever the options say. Decisions
//! only; `topology.rs` declares them.

use lapin::types::{AMQPValue, FieldTable, LongString};

use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::options::RabbitOptions;

/// How large a journal grows before its oldest entries are dropped, and the size of the pieces
/// in which they are.
const JOURNAL_BYTES: i64 = 8 * 1024 * 1024;
const JOURNAL_SEGMENT: i64 = 1024 * 1024;

/// A type of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SideQueue {
    Quorum,
    Classic,
    Stream,
}

/// The types of a quarantine queue, the best first.
pub(crate) fn types(version: Option<Version>) -> &'static [SideQueue] {
    match version {
        Some(version) if version.has_quorum_queues() => &[SideQueue::Quorum, SideQueue::Classic],
        _ => &[SideQueue::Classic],
    }
}

/// The types of a dead-letter queue, the best first: what the work queues are asked to be.
pub(crate) fn dead_letters(options: &RabbitOptions) -> &'static [SideQueue] {
    if options.quorum() { &[SideQueue::Quorum, SideQueue::Classic] } else { &[SideQueue::Classic] }
}

impl SideQueue {
    pub(crate) fn arguments(self, version: Option<Version>) -> FieldTable {
        let text = |text: &str| AMQPValue::LongString(LongString::from(text));
        let mut table = FieldTable::default();
        let mut set = |name: &str, value| {
            table.insert(name.into(), value);
        };
        match self {
            Self::Quorum => {
                set("x-queue-type", text("quorum"));
                // From RabbitMQ 4.0 on a quorum queue drops what was redelivered 20 times, unless
                // it is declared without a limit. An orderly stop redelivers, too, and so does whoever
                // looks at a dead letter.
                if version.and_then(Version::default_delivery_limit).is_some() {
                    set("x-delivery-limit", AMQPValue::LongLongInt(-1));
                }
            }
            // Said, for the default of a virtual host may be another.
            Self::Classic => set("x-queue-type", text("classic")),
            Self::Stream => {
                set("x-queue-type", text("stream"));
                set("x-max-length-bytes", AMQPValue::LongLongInt(JOURNAL_BYTES));
                set("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(JOURNAL_SEGMENT));
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(side: SideQueue, version: Option<Version>) -> Vec<String> {
        let said = |value: &AMQPValue| match value {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        let table = side.arguments(version);
        table.inner().iter().map(|(name, value)| format!("{name}={}", said(value))).collect()
    }

    #[test]
    fn the_arguments_for_each_version() {
        let (old, new) = (Some(Version::new(3, 13)), Some(Version::new(4, 0)));
        assert_eq!(names(SideQueue::Quorum, old), ["x-queue-type=quorum"]);
        assert_eq!(names(SideQueue::Quorum, new), ["x-delivery-limit=-1", "x-queue-type=quorum"]);
        assert_eq!(names(SideQueue::Classic, new), ["x-queue-type=classic"]);
        assert_eq!(
            names(SideQueue::Stream, new),
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
            dead_letters(&RabbitOptions { rabbit_quorum_queue, ..RabbitOptions::default() })
        };
        assert_eq!(kind(None), [SideQueue::Classic]);
        assert_eq!(kind(Some(false)), [SideQueue::Classic]);
        assert_eq!(kind(Some(true)), [SideQueue::Quorum, SideQueue::Classic]);
    }

    #[test]
    fn the_types_for_each_version() {
        assert_eq!(types(None), [SideQueue::Classic]);
        assert_eq!(types(Some(Version::new(3, 7))), [SideQueue::Classic]);
        assert_eq!(types(Some(Version::new(3, 10))), [SideQueue::Quorum, SideQueue::Classic]);
    }
}
