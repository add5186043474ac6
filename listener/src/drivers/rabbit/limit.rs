//! Delivery limits of quorum queues: which is too low to tell what ended a process before its
//! neighbours are dropped with it. Which one a queue has is asked by `topology.rs`.

use super::failure::Failure;
use crate::transport::error::ConnectError;

/// The least limit that is safe: what was given out twice and not settled is set aside, and a
/// connection that is lost counts for everything that was in hand.
const LEAST: u64 = 5;

/// Refuses a limit that is too low, or tells of it where that was allowed.
pub(super) fn check(queue: &str, limit: i64, allowed: bool) -> Result<(), Failure> {
    // A negative one is none.
    let Some(limit) = u64::try_from(limit).ok().filter(|limit| *limit < LEAST) else {
        return Ok(());
    };
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
        assert_eq!([-1, 5, 20].map(|limit| check("q", limit, false)), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(check("q", 4, true), Ok(()));
        let refused = check("q", 4, false).expect_err("too low");
        assert!(refused.to_string().contains("queue \"q\" has a delivery limit of 4"), "{refused}");
    }
}
