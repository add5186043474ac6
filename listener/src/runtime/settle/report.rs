//! Reports the end of a delivery: in the log, and to observers. Called by `settlement.rs`, and by
//! `copies.rs` for methods that are held.

use std::time::Duration;

use crate::notification::delivery_info::DeliveryInfo;
use crate::notification::fields::Fields;
use crate::observer::{Event, Observers};
use crate::redact::{LONGEST_TEXT, shortened};
use crate::runtime::judge::policy::CopyKind;
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::progress::CountedCopy;
use crate::target::dead_letter_queue;
use crate::transport::delivery::Settle;

/// The end of a delivery.
#[derive(Debug)]
pub(crate) enum End<'e> {
    /// Every method that wants it has handled it.
    Handled,
    /// Confirmed copies replace it.
    Copied(&'e [CountedCopy]),
    /// As `Copied`; another confirmed copy at the end of its queue is for the pending methods.
    Replaced(&'e [CountedCopy]),
    /// A confirmed copy is in quarantine, after this number of crashes.
    Quarantined { to: &'e str, crashes: u64 },
    /// A confirmed copy is at the end of its queue, which would have dropped it soon.
    Renewed,
    /// A confirmed copy is delayed for the rest of a long delay.
    Deferred(Duration),
    /// It returns to its queue: a method or `on_failure` requeued it, or it is a suspect that waited too
    /// long for its permit.
    Requeued,
    /// It returns to its queue: the broker never accepts its dead letter.
    Refused,
    /// It is unfinished and left unsettled: the broker redelivers it, in the old order, once the session
    /// is closed.
    Released,
}

impl End<'_> {
    /// How it is settled; `None`: not at all.
    pub(crate) const fn settlement(&self) -> Option<Settle> {
        match self {
            Self::Handled
            | Self::Copied(_)
            | Self::Replaced(_)
            | Self::Quarantined { .. }
            | Self::Renewed
            | Self::Deferred(_) => Some(Settle::Ack),
            Self::Requeued | Self::Refused => Some(Settle::Requeue),
            Self::Released => None,
        }
    }
}

/// What is reported of the notification of a delivery. The texts are empty if nothing is logged;
/// `handled` is always set, because `copies::leave` decides with it.
#[derive(Debug, Default)]
pub(crate) struct LoggedNotification {
    pub(crate) message_id: String,
    pub(crate) event_type: String,
    /// How many methods handled it.
    pub(crate) handled: usize,
}

impl LoggedNotification {
    pub(crate) fn of(fields: &Fields<'_>, handled: usize) -> Self {
        let clipped =
            |text: Option<&str>| shortened(text.unwrap_or_default(), LONGEST_TEXT).to_owned();
        Self {
            message_id: clipped(fields.message_id.as_deref()),
            event_type: clipped(fields.event_type.as_deref()),
            handled,
        }
    }
}

/// A delivery whose end is reported.
pub(crate) struct Report<'r> {
    pub(crate) info: &'r DeliveryInfo,
    pub(crate) copy_headers: &'r CopyHeaders,
    pub(crate) logged: &'r LoggedNotification,
    pub(crate) observers: &'r Observers,
}

/// Logs with the same field names at each level.
macro_rules! event {
    ($report:ident, $level:ident, $outcome:expr, $text:literal $(, $field:ident = $value:expr)* $(,)?) => {
        tracing::$level!(
            queue = %$report.info.queue,
            routing_key = %$report.copy_headers.origin.routing_key,
            event_type = $report.logged.event_type,
            message_id = $report.logged.message_id,
            outcome = $outcome,
            $($field = $value,)*
            $text
        )
    };
}

impl Report<'_> {
    /// Its session is over.
    pub(crate) fn stale(&self) {
        event!(self, info, "stale", "the session is over: the broker redelivers it");
        self.observers.report(&Event::Stale { delivery: self.info });
    }

    /// It ended, and the settlement was accepted.
    pub(crate) fn end(&self, end: &End<'_>) {
        let requeued = Event::Requeued { delivery: self.info };
        match end {
            End::Requeued | End::Refused => {
                event!(self, info, "requeued", "settled");
                self.observers.report(&requeued);
            }
            // At a stop these are all that wait: their number is logged once.
            End::Released => {
                event!(self, debug, "released", "left to the broker");
                self.observers.report(&requeued);
            }
            End::Handled if self.logged.handled == 0 => {
                event!(self, debug, "unhandled", "settled");
            }
            End::Handled => {
                event!(self, debug, "handled", "settled", methods = self.logged.handled);
            }
            End::Quarantined { to, crashes } => {
                event!(
                    self,
                    warn,
                    "quarantined",
                    "settled: processes that worked on it crashed",
                    to = *to,
                    crashes = *crashes
                );
            }
            End::Renewed => event!(
                self,
                warn,
                "renewed",
                "settled: it was close to the delivery limit of its queue, and is a new message at its end"
            ),
            End::Deferred(after) => event!(
                self,
                info,
                "deferred",
                "settled: its delay is longer than the broker delays a message",
                after = tracing::field::debug(after)
            ),
            End::Copied(copies) => self.copies(copies),
            End::Replaced(copies) => {
                event!(
                    self,
                    info,
                    "replaced",
                    "settled: a copy at the end of its queue is for the pending methods",
                    methods = self.logged.handled
                );
                self.copies(copies);
            }
        }
    }

    /// Reports the retries and dead letters that replace the delivery.
    fn copies(&self, copies: &[CountedCopy]) {
        for pending @ CountedCopy { copy, attempts, .. } in copies {
            let (methods, error) = (copy.method_names(), copy.error_text());
            match copy.kind {
                CopyKind::Retry { after } => event!(
                    self,
                    warn,
                    "retried",
                    "settled",
                    error = error,
                    methods = methods,
                    attempts = *attempts,
                    after = tracing::field::debug(after)
                ),
                CopyKind::DeadLetter(reason) => event!(
                    self,
                    error,
                    "dead-lettered",
                    "settled",
                    reason = reason,
                    error = error,
                    methods = methods,
                    attempts = *attempts,
                    dead_letter_queue = dead_letter_queue(&self.copy_headers.origin.queue)
                ),
            }
            self.observers.report(&self.copied(pending));
        }
    }

    /// Reports methods that are held in the process for another call.
    pub(crate) fn held(&self, pending: &CountedCopy) {
        let CountedCopy { copy, attempts, .. } = pending;
        let CopyKind::Retry { after } = copy.kind else { return };
        event!(
            self,
            warn,
            "retried",
            "held in the process for another call",
            error = copy.error_text(),
            methods = copy.method_names(),
            attempts = *attempts,
            after = tracing::field::debug(after)
        );
        self.observers.report(&self.copied(pending));
    }

    /// The event of a copy.
    fn copied<'e>(&'e self, CountedCopy { copy, attempts, .. }: &'e CountedCopy) -> Event<'e> {
        let (delivery, methods) = (&self.copy_headers.origin, copy.pending.names());
        match copy.kind {
            CopyKind::Retry { after } => {
                Event::Retried { delivery, methods, attempts: *attempts, delay: after }
            }
            CopyKind::DeadLetter(reason) => Event::DeadLettered { delivery, reason, methods },
        }
    }
}
