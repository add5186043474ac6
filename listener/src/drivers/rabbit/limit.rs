//! Delivery limits of quorum queues: which one a queue has, as far as AMQP shows it, and which is
//! too low to tell what ended a process before its neighbours are dropped with it. Decisions only;
//! `topology.rs` asks the broker.

use lapin::types::{AMQPValue, FieldTable, LongString};

use super::failure::{self, Failure, Fault};
use crate::transport::error::ConnectError;

/// The least limit that is safe: what was given out twice and not settled is set aside, and a
/// connection that is lost counts for everything that was in hand.
const LEAST: u64 = 5;

/// The arguments of a declaration that no queue with a limit fits, and whose refusal says what
/// the limit is. A quorum queue without one fits, and is left as it is.
pub(super) fn probe() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
    table
}

/// The limit that a refusal of the probe names. None where it is about something else: another
/// type of queue, or other arguments that are told first. A limit that a policy sets is never
/// named.
pub(super) fn named(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Broker { code: 406, text } if text.contains("'x-delivery-limit'") => {
            failure::current(text)?.parse().ok()
        }
        _ => None,
    }
}

/// Refuses a limit that is too low, or tells of it where that was allowed.
pub(super) fn check(queue: &str, limit: u64, allowed: bool) -> Result<(), Failure> {
    if limit >= LEAST {
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

    fn refused(text: &str) -> Option<u64> {
        named(&Fault::Broker { code: 406, text: format!("PRECONDITION_FAILED - {text}") })
    }

    #[test]
    fn the_limit_is_read_from_the_refusal() {
        assert_eq!(
            refused(
                "inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received none but current is the value '3' of type 'signedint'"
            ),
            Some(3)
        );
        assert_eq!(
            refused(
                "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none"
            ),
            None
        );
    }

    #[test]
    fn a_limit_below_five_is_refused_unless_it_was_allowed() {
        assert_eq!([5, 20].map(|limit| check("q", limit, false)), [Ok(()), Ok(())]);
        assert_eq!(check("q", 4, true), Ok(()));
        let refused = check("q", 4, false).expect_err("too low");
        assert!(refused.to_string().contains("queue \"q\" has a delivery limit of 4"), "{refused}");
    }
}
