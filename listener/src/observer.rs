//! What happens to a listener and its deliveries, told as it happens: the one seam for
//! metrics, alerts and tests. The runtime tells; how things stand now is `Listener::health`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::notification::delivery_info::DeliveryInfo;
use crate::shown::discard;

/// Is told what happens. Called from the listener's tasks, between two steps of a delivery:
/// return at once, and do not panic.
///
/// ```
/// use listener::observe::{Event, Observer};
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
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Is told of one event.
    fn observe(&self, event: &Event<'_>);
}

/// One thing that happened. None holds a body, a payload or a context.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A delivery was taken from the broker.
    Taken {
        /// How it came.
        delivery: &'e DeliveryInfo,
    },
    /// A delivery was acknowledged: its methods handled it, or nobody wanted it, or confirmed
    /// copies of it stand.
    Acknowledged {
        /// How it came.
        delivery: &'e DeliveryInfo,
        /// How many methods handled it this time.
        handled: usize,
        /// How long the listener had it.
        after: Duration,
    },
    /// A delivery is the broker's again: a method asked for it, or the listener stopped.
    Released {
        /// How it came.
        delivery: &'e DeliveryInfo,
    },
    /// A delivery was settled too late: its session was over, and the broker gives it out again.
    Stale {
        /// How it came.
        delivery: &'e DeliveryInfo,
    },
    /// A method will be called again.
    Retried {
        /// How it came.
        delivery: &'e DeliveryInfo,
        /// The methods.
        methods: &'e [String],
        /// How often they have been called.
        attempts: u32,
        /// The pause before the next call.
        after: Duration,
    },
    /// A dead letter stands in the dead-letter queue.
    DeadLettered {
        /// How it came.
        delivery: &'e DeliveryInfo,
        /// Why, in one word.
        reason: &'e str,
        /// The methods that still owe it.
        methods: &'e [String],
    },
    /// A delivery was moved to its quarantine queue, to be worked on one at a time: processes
    /// that worked on it died.
    Quarantined {
        /// How it came.
        delivery: &'e DeliveryInfo,
        /// How many.
        deaths: u64,
    },
    /// A method had handled the notification before, as the inbox remembers, and was not called.
    Duplicate {
        /// How it came.
        delivery: &'e DeliveryInfo,
        /// The method.
        method: &'e str,
    },
    /// A copy cannot be made: its delivery stays unacknowledged, and its methods are not called
    /// for others until it can. Told once for a queue until it is `Resumed`.
    Paused {
        /// The queue that the copy is for.
        queue: &'e str,
        /// Why not.
        reason: &'e str,
    },
    /// A copy for a queue that was `Paused` was made. Others may still wait for it: one that fails again is
    /// told as `Paused` again.
    Resumed {
        /// The queue that the copies are for.
        queue: &'e str,
    },
    /// A delivery has been in work for long: the broker takes back what is unsettled for too
    /// long, 30 minutes by RabbitMQ's default.
    Slow {
        /// The queue it was taken from.
        queue: &'e str,
        /// Since when.
        since: Duration,
    },
    /// Every queue has its consumer.
    Attached,
    /// The connection is lost, and being made again.
    Lost {
        /// What ended it, or made the last attempt fail.
        reason: &'e str,
    },
}

/// Those who are told.
#[derive(Default)]
pub(crate) struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    pub(crate) fn add(&mut self, observer: impl Observer) {
        self.0.push(Box::new(observer));
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        for observer in &self.0 {
            // An observer watches: what it does must not decide what becomes of a delivery.
            let observed = catch_unwind(AssertUnwindSafe(|| observer.observe(event)));
            if let Err(panic) = observed {
                // What it said, the panic hook has printed.
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
