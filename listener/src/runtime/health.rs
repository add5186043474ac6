//! The health of a listener, for programs and their probes: `Listener::health`. Events are reported to
//! observers (`observer.rs`).

use std::time::Duration;

use crate::transport::driver::ConnectionState;

/// The health of a listener at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The state of the connection; `None` before the first start.
    pub connection: Option<ConnectionState>,
    /// Every consumed queue. A quarantine queue is included once something was delivered from it.
    pub queues: Vec<QueueHealth>,
    /// The queues to which copies cannot be sent at present; normally empty.
    pub paused: Vec<Pause>,
    /// Why the broker accepts no message at present, such as a memory alarm; `None` if nothing is known.
    pub obstacle: Option<String>,
    /// The number of dead letters that the broker permanently refused, because its size limit is lower
    /// now than when the original was sent. Such a notification is not lost: it returns to its queue, and
    /// counts again each time it is redelivered.
    pub refused: u64,
}

/// The health of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueHealth {
    /// The name of the queue.
    pub queue: String,
    /// The number of deliveries in flight: delivered to this listener and not settled.
    pub in_flight: usize,
    /// The number of those for which methods have been called.
    pub in_work: usize,
    /// How long the oldest of them has been in flight; `None` if there is none.
    pub oldest: Option<Duration>,
    /// The number of deliveries acknowledged since the listener was built.
    pub settled: u64,
    /// The time since the last one was acknowledged; `None` if none was.
    pub last_settled: Option<Duration>,
}

/// A queue to which copies, that is, retries or dead letters, cannot be sent at present. Their originals
/// stay unacknowledged, and their methods are not called for other notifications in the meantime.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// The queue that the copies are for.
    pub queue: String,
    /// The methods that the copies are for, sorted.
    pub methods: Vec<String>,
    /// The most recent error.
    pub reason: String,
    /// The time since the first attempt that failed.
    pub since: Duration,
}

impl Health {
    /// Whether the listener is consuming from every queue, and can send every retry and dead letter.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connection == Some(ConnectionState::Attached) && self.paused.is_empty()
    }

    /// Whether deliveries are being acknowledged: `false` if a queue has had deliveries in flight for
    /// `patience`, and none was acknowledged in that time.
    ///
    /// Choose `patience` longer than a delivery may be in flight: that is
    /// [`RetryOptions::hold`](crate::options::listener::RetryOptions::hold) while it waits for a copy or another call,
    /// and the `handler_timeout` of each method that is called for it.
    #[must_use]
    pub fn is_progressing(&self, patience: Duration) -> bool {
        self.queues.iter().all(|queue| {
            let is_old = |age: Option<Duration>| age.is_none_or(|age| age >= patience);
            queue.oldest.is_none_or(|oldest| oldest < patience) || !is_old(queue.last_settled)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(oldest: Option<u64>, last_settled: Option<u64>) -> Health {
        let queue = QueueHealth {
            queue: "notifications.info".to_owned(),
            in_flight: 1,
            in_work: 1,
            oldest: oldest.map(Duration::from_secs),
            settled: 0,
            last_settled: last_settled.map(Duration::from_secs),
        };
        Health {
            connection: Some(ConnectionState::Attached),
            queues: vec![queue],
            paused: Vec::new(),
            obstacle: None,
            refused: 0,
        }
    }

    #[test]
    fn a_queue_is_stuck_when_it_has_some_in_flight_and_settles_none() {
        let is_progressing =
            |oldest, last| health(oldest, last).is_progressing(Duration::from_secs(60));
        assert!(is_progressing(None, None));
        assert!(is_progressing(Some(59), None));
        assert!(!is_progressing(Some(60), None));
        assert!(!is_progressing(Some(60), Some(60)));
        assert!(is_progressing(Some(60), Some(1)));
    }

    #[test]
    fn a_listener_that_cannot_make_copies_is_not_ready() {
        let healthy = health(None, None);
        assert!(healthy.is_ready());
        let pause = Pause {
            queue: "q.dead".to_owned(),
            methods: Vec::new(),
            reason: "full".to_owned(),
            since: Duration::ZERO,
        };
        assert!(!Health { paused: vec![pause], ..healthy.clone() }.is_ready());
        assert!(!Health { connection: None, ..healthy }.is_ready());
    }
}
