//! The health of a listener, for programs and their probes: `Listener::health`. Events are reported to
//! observers (`observer.rs`).

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::transport::driver::ConnectionState;

/// The health of a listener at one moment. serde writes times as seconds, for a probe that answers with JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The state of the connection; `None` before the first start. With several transports it is `Attached`
    /// if all are, and else the state of the first that is not.
    pub connection: Option<ConnectionState>,
    /// Each transport, in the order in which they were given. The other fields combine them.
    pub transports: Vec<TransportHealth>,
    /// Every consumed queue, of all transports. A quarantine queue is included once something was delivered from it.
    pub queues: Vec<QueueHealth>,
    /// The queues to which copies cannot be sent at present; normally empty.
    pub paused: Vec<Pause>,
    /// Why the broker accepts no message at present, such as a memory alarm; `None` if nothing is known.
    pub blocked: Option<String>,
    /// The number of dead letters that the broker permanently refused, because its size limit is lower
    /// now than when the original was sent. Such a notification is not lost: it returns to its queue, and
    /// counts again each time it is redelivered.
    pub refused: u64,
}

/// The health of one transport of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TransportHealth {
    /// The URL without passwords, or the name of a driver of the program's own.
    pub transport: String,
    /// The state of its connection; `None` before the first start.
    pub connection: Option<ConnectionState>,
    /// As [`Health::queues`].
    pub queues: Vec<QueueHealth>,
    /// As [`Health::paused`].
    pub paused: Vec<Pause>,
    /// As [`Health::blocked`].
    pub blocked: Option<String>,
    /// As [`Health::refused`].
    pub refused: u64,
}

/// The health of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueHealth {
    /// The name of the queue.
    pub queue: String,
    /// The number of deliveries in flight: delivered to this listener and not settled.
    pub in_flight: usize,
    /// The number of those for which methods have been called.
    pub started: usize,
    /// How long the oldest of them has been in flight; `None` if there is none.
    #[serde(serialize_with = "seconds")]
    pub oldest_age: Option<Duration>,
    /// The number of deliveries acknowledged since the listener was built.
    pub acknowledged: u64,
    /// The time since the last one was acknowledged; `None` if none was.
    #[serde(serialize_with = "seconds")]
    pub last_acknowledged: Option<Duration>,
}

/// A queue to which copies, that is, retries or dead letters, cannot be sent at present. Their originals
/// stay unacknowledged, and their methods are not called for other notifications in the meantime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pause {
    /// The queue that the copies are for.
    pub queue: String,
    /// The methods that the copies name, each as `endpoint::method`, sorted: they are not called meanwhile.
    /// Empty if the copies are pending for all methods, of which none is paused then.
    pub methods: Vec<String>,
    /// The most recent error.
    pub reason: String,
    /// The time since the first attempt that failed.
    #[serde(serialize_with = "as_seconds")]
    pub elapsed: Duration,
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Health {
    /// Combines the transports.
    pub(super) fn of(transports: Vec<TransportHealth>) -> Self {
        let all = || transports.iter();
        Self {
            connection: combined(all().map(|transport| transport.connection.clone())),
            queues: all().flat_map(|transport| transport.queues.clone()).collect(),
            paused: all().flat_map(|transport| transport.paused.clone()).collect(),
            blocked: all().find_map(|transport| transport.blocked.clone()),
            refused: all().map(|transport| transport.refused).sum(),
            transports,
        }
    }

    /// Whether the listener is consuming from every queue, and can send every retry and dead letter.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connection == Some(ConnectionState::Attached) && self.paused.is_empty()
    }

    /// Whether deliveries are being acknowledged: `false` if a queue has had deliveries in flight for
    /// `patience`, and none was acknowledged in that time.
    ///
    /// Choose `patience` longer than a delivery may be in flight: that is
    /// [`RetryOptions::hold`](crate::options::RetryOptions::hold) while it waits for a copy or another call,
    /// and the `handler_timeout` of each method that is called for it.
    #[must_use]
    pub fn is_progressing(&self, patience: Duration) -> bool {
        self.queues.iter().all(|queue| {
            let is_old = |age: Option<Duration>| age.is_none_or(|age| age >= patience);
            queue.oldest_age.is_none_or(|oldest| oldest < patience)
                || !is_old(queue.last_acknowledged)
        })
    }
}

/// `Attached` if all are, and else the first other state.
pub(super) fn combined(
    states: impl Iterator<Item = Option<ConnectionState>>,
) -> Option<ConnectionState> {
    let mut first = None;
    for state in states {
        if state != Some(ConnectionState::Attached) {
            return state;
        }
        first = state;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(oldest: Option<u64>, last_acknowledged: Option<u64>) -> Health {
        let queue = QueueHealth {
            queue: "notifications.info".to_owned(),
            in_flight: 1,
            started: 1,
            oldest_age: oldest.map(Duration::from_secs),
            acknowledged: 0,
            last_acknowledged: last_acknowledged.map(Duration::from_secs),
        };
        Health {
            connection: Some(ConnectionState::Attached),
            transports: Vec::new(),
            queues: vec![queue],
            paused: Vec::new(),
            blocked: None,
            refused: 0,
        }
    }

    #[test]
    fn a_queue_with_old_deliveries_and_no_recent_ack_is_stuck() {
        let is_progressing =
            |oldest, last| health(oldest, last).is_progressing(Duration::from_secs(60));
        assert!(is_progressing(None, None));
        assert!(is_progressing(Some(59), None));
        assert!(!is_progressing(Some(60), None));
        assert!(!is_progressing(Some(60), Some(60)));
        assert!(is_progressing(Some(60), Some(1)));
    }

    #[test]
    fn it_is_written_with_times_as_seconds() {
        let mut health = health(Some(60), None);
        health.connection = Some(ConnectionState::Lost { reason: "gone".into() });
        health.paused.push(Pause {
            queue: "q.dead".to_owned(),
            methods: vec!["Billing::info".to_owned()],
            reason: "full".to_owned(),
            elapsed: Duration::from_millis(1500),
        });
        let expected = serde_json::json!({
            "connection": {"state": "lost", "reason": "gone"},
            "queues": [{
                "queue": "notifications.info",
                "in_flight": 1,
                "started": 1,
                "oldest_age": 60.0,
                "acknowledged": 0,
                "last_acknowledged": null,
            }],
            "paused": [{
                "queue": "q.dead",
                "methods": ["Billing::info"],
                "reason": "full",
                "elapsed": 1.5,
            }],
            "blocked": null,
            "refused": 0,
            "transports": [],
        });
        assert_eq!(serde_json::to_value(&health).expect("JSON"), expected);
    }

    #[test]
    fn a_listener_that_cannot_make_copies_is_not_ready() {
        let healthy = health(None, None);
        assert!(healthy.is_ready());
        let pause = Pause {
            queue: "q.dead".to_owned(),
            methods: Vec::new(),
            reason: "full".to_owned(),
            elapsed: Duration::ZERO,
        };
        assert!(!Health { paused: vec![pause], ..healthy.clone() }.is_ready());
        assert!(!Health { connection: None, ..healthy }.is_ready());
    }
}
