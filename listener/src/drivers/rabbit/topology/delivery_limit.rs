//! Delivery limits of quorum queues: whether one is high enough to find out which message crashes a process
//! before RabbitMQ drops its neighbours as well. Decisions only; `inspect.rs` reads the
//! limit of a queue.

use crate::drivers::rabbit::connection::failure::Failure;
use crate::drivers::rabbit::connection::version::Version;
use crate::transport::delivery::near_limit_from;
use crate::transport::error::ConnectError;

/// The lowest safe limit: a message is quarantined after two deliveries without settlement, and a lost
/// connection counts for everything in flight.
const LEAST: i64 = 5;

/// Refuses a limit that is too low, or logs it if the options allow it.
pub(crate) fn check(
    queue: &str,
    limit: i64,
    version: Option<Version>,
    allowed: bool,
) -> Result<(), Failure> {
    if is_none(limit, version) || limit >= LEAST {
        return Ok(());
    }
    let error = ConnectError::UnsuitableQueue {
        queue: queue.to_owned(),
        problem: format!(
            "has a delivery limit of {limit}: RabbitMQ drops a message that is redelivered more often, and after repeated crashes that includes everything that was in flight"
        ),
        fix: format!(
            "expected {LEAST} or more: declare the queue with a higher `x-delivery-limit`, or accept the loss with allow_low_delivery_limit=true in the transport URL"
        ),
    };
    if allowed {
        tracing::error!(%error, "notifications may be lost, as allow_low_delivery_limit allows");
        return Ok(());
    }
    Err(Failure::Permanent(error))
}

/// A negative limit means none since RabbitMQ 4.0; earlier versions drop every redelivered message.
fn is_none(limit: i64, version: Option<Version>) -> bool {
    limit < 0 && version.is_some_and(Version::has_unlimited_deliveries)
}

/// Logs a quarantine queue that drops every redelivered message. It is not refused, because the work
/// queues are not affected.
pub(crate) fn check_quarantine(queue: &str, limit: i64, version: Option<Version>) {
    if limit < 1 && !is_none(limit, version) {
        tracing::error!(
            queue,
            limit,
            "RabbitMQ drops every message of this quarantine queue that is redelivered: notifications may be lost; stop the listeners, move its messages to another queue, and delete it; it is then declared without a limit"
        );
    }
}

/// Whether a message that was delivered `count` times before is halfway to the limit of its queue.
/// `declared_limit`: the limit that the queue was declared with.
pub(crate) fn is_near(count: u64, declared_limit: Option<i64>, version: Option<Version>) -> bool {
    let limit = match declared_limit {
        // A negative limit means none.
        Some(limit) => u64::try_from(limit).ok(),
        None => version.and_then(Version::default_delivery_limit),
    };
    limit.is_some_and(|limit| count >= near_limit_from(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_limit_is_near_and_so_is_the_last_delivery() {
        let version = Some(Version::new(4, 0));
        let is_near = |limit| [1, 2, 3, 10].map(|count| is_near(count, limit, version));
        assert_eq!(is_near(Some(1)), [true; 4]);
        for low in [2, 3, 4, 5] {
            assert_eq!(is_near(Some(low)), [false, true, true, true], "{low}");
        }
        assert_eq!(is_near(Some(6)), [false, false, true, true]);
        for high in [None, Some(20)] {
            assert_eq!(is_near(high), [false, false, false, true], "{high:?}");
        }
        for none in [Some(30), Some(-1)] {
            assert_eq!(is_near(none), [false; 4], "{none:?}");
        }
    }

    #[test]
    fn a_limit_below_five_is_refused_unless_it_is_allowed() {
        let check = |limit, allowed| check("q", limit, Some(Version::new(4, 0)), allowed);
        assert_eq!([-1, 5, 20].map(|limit| check(limit, false)), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(check(4, true), Ok(()));
        let refused = check(4, false).expect_err("too low");
        assert!(refused.to_string().contains("queue \"q\" has a delivery limit of 4"), "{refused}");
    }

    #[test]
    fn a_negative_limit_is_refused_where_the_broker_drops_redelivered_messages() {
        for version in [None, Some(Version::new(3, 10)), Some(Version::new(3, 13))] {
            let refused = check("q", -1, version, false).expect_err("drops redelivered messages");
            assert!(refused.to_string().contains("a delivery limit of -1"), "{refused}");
        }
    }
}
