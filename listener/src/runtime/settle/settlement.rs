//! Settles deliveries: the only file that does. A delivery that copies replace comes here once these are
//! confirmed (`copier.rs`); what is logged and observed is in `report.rs`.

use std::sync::Arc;

use crate::observer::Event;
use crate::runtime::case::Case;
use crate::runtime::settle::report::{End, LoggedNotification, Report};
use crate::runtime::shared::Shared;
use crate::transport::delivery::Settle;

/// Releases a delivery: it stays unsettled, and the broker redelivers it when the session ends.
pub(crate) fn release(shared: &Shared, case: Case) {
    settle(shared, case, &End::Released, &LoggedNotification::default());
}

/// Settles a delivery according to its end, and records the end of a suspect in the journal.
pub(crate) fn settle(shared: &Shared, case: Case, end: &End<'_>, logged: &LoggedNotification) {
    let Case { delivery, in_flight, copy_headers, ticket, suspicion, .. } = case;
    let queue = Arc::clone(&delivery.info.queue);
    let (settled, info) = match end.settlement() {
        Some(settle) => delivery.settle_known(settle),
        None => (delivery.still_held(), delivery.info),
    };
    let observers = &*shared.observers;
    let report = Report { info: &info, copy_headers: &copy_headers, logged, observers };
    let is_acknowledged = settled.is_ok() && end.settlement() == Some(Settle::Ack);
    if settled.is_ok() {
        report.end(end);
    } else {
        report.stale();
    }
    if is_acknowledged {
        in_flight.acknowledged();
        let (handled, elapsed) = (logged.handled, in_flight.age());
        observers.report(&Event::Acknowledged { delivery: &info, handled, elapsed });
    }
    let record = suspicion.as_ref().and_then(|suspicion| suspicion.record);
    if let (Some(record), Some(quarantine)) = (record, shared.quarantines.of(&queue)) {
        if is_acknowledged {
            quarantine.journal.settled(record);
        } else {
            quarantine.journal.released(record);
        }
    }
    // The next one of its key order begins.
    drop(ticket);
}
