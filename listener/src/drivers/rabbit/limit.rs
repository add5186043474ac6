//! Delivery limits of quorum queues: which is too low to tell what ended a process before its
//! neighbours are dropped with it. Which one a queue has is asked by `topology.rs`.

use super::failure::Failure;
use super::version::Version;
use crate::transport::error::ConnectError;

/// The least limit that is safe: what was given out twice and not settled is set aside, and a
/// connection that is lost counts for everything that was in hand.
const LEAST: i64 = 5;

/// Refuses a limit that is too low, or tells of it where that was allowed.
pub(super) fn check(
    queue: &str,
    limit: i64,
    version: Option<Version>,
    allowed: bool,
) -> Result<(), Failure> {
    // A negative one is none from RabbitMQ 4.0 on; earlier ones drop whatever comes back.
    let is_none = limit < 0 && version.is_some_and(Version::has_unlimited_deliveries);
    if is_none || limit >= LEAST {
        return Ok(());
    }
    let error = ConnectError::LowDeliveryLimit { queue: queue.to_owned(), limit, least: LEAST };
    if allowed {
        tracing::error!(%error, "notifications may be lost, as allow_low_delivery_limit allows");
        return Ok(());
    }
    Err(Failure::Mistake(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_five_is_refused_unless_it_was_allowed() {
        let check = |limit, allowed| check("q", limit, Some(Version::new(4, 0)), allowed);
        assert_eq!([-1, 5, 20].map(|limit| check(limit, false)), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(check(4, true), Ok(()));
        let refused = check(4, false).expect_err("too low");
        assert!(refused.to_string().contains("queue \"q\" has a delivery limit of 4"), "{refused}");
    }
    #[test]
    fn a_negative_limit_is_refused_where_the_broker_drops_what_comes_back() {
        for version in [None, Some(Version::new(3, 10)), Some(Version::new(3, 13))] {
            let refused = check("q", -1, version, false).expect_err("drops what comes back");
            assert!(refused.to_string().contains("a delivery limit of -1"), "{refused}");
        }
    }
}
