//! Observers: events of a listener and its deliveries, for metrics, alerts and tests. The runtime reports
//! them; `Listener::health` is the present state.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::notification::delivery_info::DeliveryInfo;
use crate::redact::discard;

/// Receives events. An `Arc` of an observer is an observer as well: keep a clone to read what it has counted.
///
/// ```
/// use listener::Listener;
/// use listener::observe::{Event, Observer};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct DeadLetters(AtomicU64);
///
/// impl Observer for DeadLetters {
///     fn observe(&self, event: &Event<'_>) {
///         if let Event::DeadLettered { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let dead_letters = Arc::new(DeadLetters::default());
/// let builder = Listener::builder().observer(Arc::clone(&dead_letters));
/// assert_eq!(dead_letters.0.load(Ordering::Relaxed), 0);
/// # drop(builder);
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Called for each event, by the task of the listener in which it happens, between two steps of a
    /// delivery: it must return quickly and not block. A panic is caught and logged.
    fn observe(&self, event: &Event<'_>);
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}

/// An event of a listener. No event contains a body, a payload or a context.
///
/// Methods are named `endpoint::method`, such as `billing::Billing::info`. The endpoint is the `name` of its
/// attribute, or else its module and type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A delivery arrived from the broker.
    #[non_exhaustive]
    Received {
        /// How it arrived.
        delivery: &'e DeliveryInfo,
    },
    /// A delivery was acknowledged: its methods handled it, or no method matches, or copies of it are
    /// confirmed.
    #[non_exhaustive]
    Acknowledged {
        /// How it arrived.
        delivery: &'e DeliveryInfo,
        /// How many methods handled this delivery.
        handled: usize,
        /// How long ago it was received.
        elapsed: Duration,
    },
    /// A delivery returns to its queue: a method, or `OnFailure::Requeue`, requeued it; its dead letter
    /// is refused; a suspect waited for too long; or the listener stopped, and the broker redelivers
    /// what was not acknowledged.
    #[non_exhaustive]
    Requeued {
        /// How it arrived.
        delivery: &'e DeliveryInfo,
    },
    /// A delivery was settled after its session was over: the broker redelivers it.
    #[non_exhaustive]
    Stale {
        /// How it arrived.
        delivery: &'e DeliveryInfo,
    },
    /// Methods failed and will be called again.
    #[non_exhaustive]
    Retried {
        /// How the original arrived: of a retry or a quarantined copy only `redelivered` and `delivery_count` are
        /// of this delivery.
        delivery: &'e DeliveryInfo,
        /// The methods that did not handle it, each as `endpoint::method`; empty: all matching methods.
        methods: &'e [String],
        /// How often they were called.
        attempts: u32,
        /// The delay before the next call.
        delay: Duration,
    },
    /// A dead letter was confirmed in the dead-letter queue.
    #[non_exhaustive]
    DeadLettered {
        /// How the original arrived: of a retry or a quarantined copy only `redelivered` and `delivery_count` are
        /// of this delivery.
        delivery: &'e DeliveryInfo,
        /// The reason, one word: the header `listener-reason`.
        /// [`guide::failures`](crate::guide::failures) lists them.
        reason: &'e str,
        /// The methods that did not handle it, each as `endpoint::method`; empty: all matching methods.
        methods: &'e [String],
    },
    /// A delivery was moved to its quarantine queue, whose deliveries are handled one at a time:
    /// processes crashed while they handled it.
    #[non_exhaustive]
    Quarantined {
        /// How the original arrived: of a retry or a quarantined copy only `redelivered` and `delivery_count` are
        /// of this delivery.
        delivery: &'e DeliveryInfo,
        /// How many processes crashed.
        crashes: u64,
    },
    /// A method was not called: according to the inbox it has handled the notification before.
    #[non_exhaustive]
    Duplicate {
        /// How the original arrived: of a retry or a quarantined copy only `redelivered` and `delivery_count` are
        /// of this delivery.
        delivery: &'e DeliveryInfo,
        /// The method, as `endpoint::method`.
        method: &'e str,
    },
    /// A copy could not be sent, or is not confirmed in time: its delivery stays unacknowledged, and the
    /// methods that the copy names (none, if it is for all or moves a suspect) are not called for other
    /// notifications until a copy is confirmed. Emitted once for a queue until it is `Resumed`.
    #[non_exhaustive]
    Paused {
        /// The destination of the copy.
        queue: &'e str,
        /// Why the copy could not be sent.
        reason: &'e str,
    },
    /// A copy was confirmed for a queue that was `Paused`. Others may still wait: if one fails again,
    /// `Paused` is emitted again.
    #[non_exhaustive]
    Resumed {
        /// The destination of the copies.
        queue: &'e str,
    },
    /// A delivery has been in flight for 24 minutes, waiting or handled; reported once. RabbitMQ closes
    /// the channel of a delivery that is unsettled for 30 minutes by default (`consumer_timeout`).
    #[non_exhaustive]
    Slow {
        /// The queue that it was consumed from.
        queue: &'e str,
        /// For how long.
        elapsed: Duration,
    },
    /// Every queue has its consumer, at the start or after a reconnect.
    Attached,
    /// The connection was lost; the driver reconnects.
    #[non_exhaustive]
    Disconnected {
        /// What ended the session, or why the last attempt to reconnect failed.
        reason: &'e str,
    },
}

/// The observers of a listener.
#[derive(Default)]
pub(crate) struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    pub(crate) fn add(&mut self, observer: impl Observer) {
        self.0.push(Box::new(observer));
    }

    pub(crate) fn report(&self, event: &Event<'_>) {
        for observer in &self.0 {
            // The failure of an observer must not affect deliveries.
            let observed = catch_unwind(AssertUnwindSafe(|| observer.observe(event)));
            if let Err(panic) = observed {
                // The panic hook has printed its message.
                discard(panic);
                tracing::error!("an observer panicked");
            }
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observers({})", self.0.len())
    }
}
