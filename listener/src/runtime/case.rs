//! A case: everything that one delivery carries from its arrival until it is settled. Stages take it by
//! value or by reference, and return values.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use crate::observer::Event;
use crate::runtime::schedule::in_flight::InFlightGuard;
use crate::runtime::schedule::key_order::Ticket;
use crate::runtime::settle::copier::Original;
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::shared::Shared;
use crate::runtime::suspect::gate::{ExclusiveAccess, Passage};
use crate::runtime::suspect::journal::{Key, Record};
use crate::transport::delivery::Delivery;

/// A delivery with all that belongs to the work on it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) delivery: Delivery,
    pub(crate) in_flight: InFlightGuard,
    pub(crate) copy_headers: CopyHeaders,
    /// Its position in its key order, kept until it is settled.
    pub(crate) ticket: Option<Ticket>,
    /// The decompressed body, if it was opened to read its keys and is no larger than the compressed one.
    pub(crate) text: Option<String>,
    /// When the driver handed it over.
    pub(crate) received_at: SystemTime,
    /// Set once it is examined as a suspect. Boxed, because few deliveries are suspects and each is moved
    /// several times.
    pub(crate) suspicion: Option<Box<Suspicion>>,
}

/// What is known of a suspect, and what it holds.
#[derive(Debug)]
pub(crate) struct Suspicion {
    /// Identifies it in the journal, as it arrived.
    pub(crate) key: Key,
    /// The record that this process has begun it.
    pub(crate) record: Option<Record>,
    pub(crate) isolation: Isolation,
    /// Held by an isolated one while its methods are called, until it waits or is settled.
    pub(crate) permit: Option<SuspectPermit>,
}

/// Which methods must not run while those of a suspect do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    None,
    /// Those of other isolated suspects.
    FromSuspects,
    /// All others: with one more crash it is given up.
    FromAll,
}

/// The permit to call the methods of an isolated suspect, which one suspect has at a time.
#[derive(Debug)]
pub(crate) struct SuspectPermit {
    /// Keeps the gate closed for all others, if it is isolated from all. Dropped before `suspects`.
    pub(crate) closed_gate: Option<ExclusiveAccess>,
    pub(crate) suspects: OwnedMutexGuard<()>,
}

impl Case {
    /// A delivery that the driver has handed over; reported to observers.
    pub(crate) fn receive(shared: &Shared, delivery: Delivery) -> Self {
        let table = shared.dispatcher.table();
        let mut copy_headers =
            CopyHeaders::read(&delivery.properties, &delivery.info, |name| table.knows(name));
        // Publishers can write these headers: copies go to queues of this listener only.
        if !shared.quarantines.is_work_queue(&copy_headers.origin.queue) {
            let taken_from = &delivery.info.queue;
            copy_headers.origin.queue = shared
                .quarantines
                .work_queue_of(taken_from)
                .map_or_else(|| Arc::clone(taken_from), Arc::from);
        }
        let in_flight = shared.in_flight.add(&delivery);
        shared.observers.report(&Event::Received { delivery: &delivery.info });
        Self {
            delivery,
            in_flight,
            copy_headers,
            ticket: None,
            text: None,
            received_at: SystemTime::now(),
            suspicion: None,
        }
    }

    /// What a copy of it is made of.
    pub(crate) fn original<'o>(&'o self, stop: &'o CancellationToken) -> Original<'o> {
        Original { delivery: &self.delivery, copy_headers: &self.copy_headers, stop }
    }

    /// The passage of its methods through the gate.
    pub(crate) fn passage(&self) -> Passage {
        let permit = self.suspicion.as_ref().and_then(|suspicion| suspicion.permit.as_ref());
        let closed_gate = permit.and_then(|permit| permit.closed_gate.as_ref());
        closed_gate.map_or(Passage::Normal, ExclusiveAccess::passage)
    }

    /// Whether its methods are only called with a suspect permit.
    pub(crate) fn is_isolated(&self) -> bool {
        self.suspicion.as_ref().is_some_and(|suspicion| suspicion.isolation != Isolation::None)
    }
}
