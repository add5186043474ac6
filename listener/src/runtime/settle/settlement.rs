//! Settles deliveries, logs what became of each, and tells observers: the only place that
//! settles what was worked on. A delivery in whose place copies stand comes here only once they
//! are confirmed (`copier.rs`).

use std::time::Duration;

use crate::notification::fields::Fields;
use crate::observer::{Event, Observers};
use crate::runtime::judge::policy::{Copy, Destination};
use crate::runtime::schedule::in_flight::InFlightGuard;
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::shown::shortened;
use crate::target::dead_letter_queue;
use crate::transport::delivery::{Delivery, Settle};

/// What became of a delivery.
#[derive(Debug)]
pub(crate) enum End<'e> {
    /// Nothing is owed any more.
    Handled,
    /// Confirmed copies stand in its place.
    Copied(&'e [Copy]),
    /// As `Copied`; what is still owed is owed by another confirmed copy, at the end of its queue.
    Replaced(&'e [Copy]),
    /// A confirmed copy is in quarantine, because so many processes died of it.
    Quarantined { to: &'e str, deaths: u64 },
    /// A confirmed copy is at the end of its queue, before its queue drops it.
    Renewed,
    /// A confirmed copy waits for what remains of a long pause.
    Deferred(Duration),
    /// It goes back to its queue: a method gave it back, or it has waited for too long.
    Requeued,
    /// The broker never takes its dead letter: it goes back to its queue.
    Refused,
    /// It was not done with: it is left unsettled, and the broker gives it out again, in its old
    /// order, once the session is closed.
    Released,
}

/// What the log says of a delivery beside its end. Empty where nothing is told.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    pub(crate) message_id: String,
    pub(crate) event_type: String,
    /// How many methods handled it.
    pub(crate) handled: usize,
}

/// So many bytes of a text from outside are logged.
const LONGEST: usize = 256;

impl Subject {
    pub(crate) fn of(fields: &Fields<'_>, handled: usize) -> Self {
        let clipped = |text: Option<&str>| shortened(text.unwrap_or_default(), LONGEST).to_owned();
        Self {
            message_id: clipped(fields.message_id.as_deref()),
            event_type: clipped(fields.event_type.as_deref()),
            handled,
        }
    }
}

/// Settles a delivery as its end says. Whether the broker is done with it.
pub(crate) fn carry_out(
    delivery: Delivery,
    in_flight: &InFlightGuard,
    copy_headers: &CopyHeaders,
    end: &End<'_>,
    subject: &Subject,
    observers: &Observers,
) -> bool {
    let (settled, info) = match end {
        End::Handled
        | End::Copied(_)
        | End::Replaced(_)
        | End::Quarantined { .. }
        | End::Renewed
        | End::Deferred(_) => delivery.settle_known(Settle::Ack),
        End::Requeued | End::Refused => delivery.settle_known(Settle::Requeue),
        End::Released => (delivery.still_held(), delivery.info),
    };
    let settled = settled.is_ok();
    // Told once, here: the field names are the same at each level.
    macro_rules! event {
        ($level:ident, $outcome:expr, $text:literal $(, $field:ident = $value:expr)*) => {
            tracing::$level!(
                queue = %info.queue,
                routing_key = %copy_headers.origin.routing_key,
                event_type = subject.event_type,
                message_id = subject.message_id,
                outcome = $outcome,
                $($field = $value,)*
                $text
            )
        };
    }
    if !settled {
        // Whatever was decided, the broker delivers it again: its session is gone.
        event!(info, "stale", "settled too late: the broker delivers it again");
        observers.tell(&Event::Stale { delivery: &info });
        return false;
    }
    match end {
        End::Requeued | End::Refused => {
            event!(info, "requeued", "settled");
            observers.tell(&Event::Released { delivery: &info });
            return false;
        }
        // At a stop that is all that waits: how many, the stop tells.
        End::Released => {
            event!(debug, "released", "left to the broker");
            observers.tell(&Event::Released { delivery: &info });
            return false;
        }
        End::Handled if subject.handled == 0 => event!(debug, "unhandled", "settled"),
        End::Handled => event!(debug, "handled", "settled", methods = subject.handled),
        End::Quarantined { to, deaths } => {
            event!(
                warn,
                "quarantined",
                "settled: processes that worked on it died",
                to = *to,
                deaths = *deaths
            );
        }
        End::Renewed => event!(
            warn,
            "renewed",
            "settled: it was close to the delivery limit of its queue, and is a new message at its end"
        ),
        End::Deferred(after) => event!(
            info,
            "deferred",
            "settled: its pause is longer than the broker holds it back at once",
            after = tracing::field::debug(after)
        ),
        End::Copied(copies) | End::Replaced(copies) => {
            if let End::Replaced(_) = end {
                event!(
                    info,
                    "replaced",
                    "settled: a copy at the end of its queue is for the methods that still owe it",
                    methods = subject.handled
                );
            }
            for copy in *copies {
                let (methods, error) = (copy.owed_names(), copy.error_text());
                match copy.to {
                    Destination::Later(after) => event!(
                        warn,
                        "retried",
                        "settled",
                        error = error,
                        methods = methods,
                        attempts = copy_headers.attempts,
                        after = tracing::field::debug(after)
                    ),
                    Destination::Dead(reason) => event!(
                        error,
                        "dead-lettered",
                        "settled",
                        reason = reason,
                        error = error,
                        methods = methods,
                        attempts = copy_headers.attempts,
                        dead_letter_queue = dead_letter_queue(&copy_headers.origin.queue)
                    ),
                }
                observers.tell(&copied(copy, copy_headers));
            }
        }
    }
    in_flight.settled();
    let (handled, after) = (subject.handled, in_flight.since());
    observers.tell(&Event::Acknowledged { delivery: &info, handled, after });
    true
}

/// Tells of methods that are held in the process for another call.
pub(crate) fn held(
    delivery: &Delivery,
    copy_headers: &CopyHeaders,
    copy: &Copy,
    subject: &Subject,
    observers: &Observers,
) {
    let Destination::Later(after) = copy.to else { return };
    tracing::warn!(
        queue = %delivery.info.queue,
        routing_key = %copy_headers.origin.routing_key,
        event_type = subject.event_type,
        message_id = subject.message_id,
        outcome = "retried",
        error = copy.error_text(),
        methods = copy.owed_names(),
        attempts = copy_headers.attempts,
        ?after,
        "held in the process for another call"
    );
    observers.tell(&copied(copy, copy_headers));
}

fn copied<'e>(copy: &'e Copy, copy_headers: &'e CopyHeaders) -> Event<'e> {
    let (delivery, methods) = (&copy_headers.origin, copy.owed.as_slice());
    match copy.to {
        Destination::Later(after) => {
            Event::Retried { delivery, methods, attempts: copy_headers.attempts, after }
        }
        Destination::Dead(reason) => Event::DeadLettered { delivery, reason, methods },
    }
}
