//! Retry queues, which delay messages: their names, types and arguments. Decisions only;
//! `destination.rs` declares them, `publishing/publish.rs` publishes to them.
//!
//! A retry queue has no consumer. A message in it expires, and the broker dead-letters it to the queue
//! for which it is meant. Messages expire at the head of a queue only, so there is a queue for each
//! level of delay: all messages ahead of one expire within a level, and a level is less than twice the
//! delay, where delays below a second count as a second.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable};

use super::properties::{QueueType, text};
use crate::drivers::rabbit::connection::version::Version;
use crate::transport::driver::MAX_DELAY;

/// A level of delay: a power of two in seconds, up to the first that covers the longest delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Level(u32);

impl Level {
    /// The lowest level that is not below the delay; none for more than a day.
    pub(crate) fn of(delay: Duration) -> Option<Self> {
        if delay > MAX_DELAY {
            return None;
        }
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        u32::try_from(seconds).ok().map(|seconds| Self(seconds.max(1).next_power_of_two()))
    }

    /// The retry queue of `queue`.
    pub(crate) fn queue(self, queue: &str) -> String {
        format!("{queue}.retry.{}s", self.0)
    }
}

/// The property `expiration` of a message: no sooner than after `delay`.
pub(crate) fn expiration(delay: Duration) -> String {
    delay.as_nanos().div_ceil(1_000_000).to_string()
}

/// The types of retry queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryQueueType {
    /// Keeps a message until the queue to which it is dead-lettered has confirmed it.
    Quorum,
    /// Survives a crash, but may lose the messages that it dead-letters at that moment.
    Classic,
}

impl RetryQueueType {
    pub(crate) const fn queue_type(self) -> QueueType {
        match self {
            Self::Quorum => QueueType::Quorum,
            Self::Classic => QueueType::Classic,
        }
    }

    /// The types to declare, in order of preference: the next one if the broker refuses the first.
    /// `has_quorum`: quorum queues are not known to be disabled.
    pub(crate) fn choices(version: Option<Version>, has_quorum: bool) -> &'static [Self] {
        match version {
            Some(version) if has_quorum && version.dead_letters_at_least_once() => {
                &[Self::Quorum, Self::Classic]
            }
            _ => &[Self::Classic],
        }
    }

    /// The arguments of the queue. There is no `x-expires`: a queue without consumers counts as unused,
    /// and would be deleted with its messages.
    pub(crate) fn arguments(self, queue: &str, level: Level) -> FieldTable {
        let mut table = FieldTable::default();
        let mut set = |name: &str, value| {
            table.insert(name.into(), value);
        };
        set("x-dead-letter-exchange", text(""));
        set("x-dead-letter-routing-key", text(queue));
        set("x-message-ttl", AMQPValue::LongLongInt(i64::from(level.0) * 1000));
        match self {
            Self::Quorum => {
                set("x-queue-type", text("quorum"));
                set("x-dead-letter-strategy", text("at-least-once"));
                set("x-overflow", text("reject-publish"));
            }
            // Explicit, because the default of a virtual host may differ.
            Self::Classic => set("x-queue-type", text("classic")),
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_the_next_power_of_two_of_seconds() {
        let level = |millis| Level::of(Duration::from_millis(millis)).map(|level| level.0);
        let found = [0, 1, 999, 1000, 1001, 2000, 3000, 4000, 4001, 60_000].map(level);
        assert_eq!(found, [1, 1, 1, 1, 2, 2, 4, 4, 8, 64].map(Some));
        assert_eq!(level(24 * 3600 * 1000), Some(131_072));
        assert_eq!(level(24 * 3600 * 1000 + 1), None);
        assert_eq!(Level::of(Duration::MAX), None);
    }

    #[test]
    fn no_retry_queue_has_a_longer_suffix_than_names_are_checked_for() {
        let longest = Level::of(MAX_DELAY).expect("a level").queue("");
        assert_eq!(longest, crate::target::LONGEST_RETRY);
    }

    #[test]
    fn a_level_is_less_than_twice_any_delay_of_a_second_and_more() {
        for millis in (1000..100_000).step_by(7) {
            let delay = Duration::from_millis(millis);
            let Level(seconds) = Level::of(delay).expect("less than a day");
            let level = Duration::from_secs(seconds.into());
            assert!(delay <= level && level < 2 * delay + Duration::from_secs(1), "{delay:?}");
        }
    }

    #[test]
    fn a_message_never_expires_early() {
        assert_eq!(expiration(Duration::from_millis(1500)), "1500");
        assert_eq!(expiration(Duration::from_nanos(1_500_000_001)), "1501");
        assert_eq!(expiration(Duration::ZERO), "0");
    }

    #[test]
    fn the_type_of_queue_for_each_version() {
        let quorum = [RetryQueueType::Quorum, RetryQueueType::Classic];
        let table = [
            (Version::new(3, 8), &quorum[1..]),
            (Version::new(3, 9), &quorum[1..]),
            (Version::new(3, 10), &quorum[..]),
            (Version::new(3, 11), &quorum[..]),
            (Version::new(3, 12), &quorum[..]),
            (Version::new(3, 13), &quorum[..]),
            (Version::new(4, 0), &quorum[..]),
            (Version::new(4, 1), &quorum[..]),
            (Version::new(4, 2), &quorum[..]),
            (Version::new(4, 3), &quorum[..]),
        ];
        for (version, expected) in table {
            assert_eq!(RetryQueueType::choices(Some(version), true), expected, "{version}");
            assert_eq!(RetryQueueType::choices(Some(version), false), [RetryQueueType::Classic]);
        }
        assert_eq!(RetryQueueType::choices(None, true), [RetryQueueType::Classic]);
    }

    #[test]
    fn the_arguments_of_each_type_of_queue() {
        let arguments = |kind: RetryQueueType| -> Vec<String> {
            let table = kind.arguments("q.info", Level(4));
            let said = |value: &AMQPValue| match value {
                AMQPValue::LongString(text) => text.to_string(),
                AMQPValue::LongLongInt(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            table.inner().iter().map(|(name, value)| format!("{name}={}", said(value))).collect()
        };
        assert_eq!(Level(4).queue("q.info"), "q.info.retry.4s");
        assert_eq!(
            arguments(RetryQueueType::Quorum),
            [
                "x-dead-letter-exchange=",
                "x-dead-letter-routing-key=q.info",
                "x-dead-letter-strategy=at-least-once",
                "x-message-ttl=4000",
                "x-overflow=reject-publish",
                "x-queue-type=quorum",
            ]
        );
        assert_eq!(
            arguments(RetryQueueType::Classic),
            [
                "x-dead-letter-exchange=",
                "x-dead-letter-routing-key=q.info",
                "x-message-ttl=4000",
                "x-queue-type=classic",
            ]
        );
    }
}
