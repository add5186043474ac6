//! The state of a listener, as a program or its probe reads it: `Listener::health`. Events are
//! reported to observers (`observer.rs`).

use std::time::Duration;

use crate::transport::driver::ConnectionState;

/// How a listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How the connection is; `None` before the first start.
    pub connection: Option<ConnectionState>,
    /// Every queue that it consumes.
    pub queues: Vec<QueueHealth>,
    /// What cannot be done at present; empty when all is well.
    pub paused: Vec<Pause>,
    /// What keeps retries and dead letters from being sent at present, such as a broker that is
    /// short of memory.
    pub obstacle: Option<String>,
    /// How often the broker has refused a dead letter that it never takes, as its limit is lower
    /// now than when the message was sent. The notification went back to its queue, is not lost,
    /// and counts anew each time it comes again.
    pub refused: u64,
}

/// How one queue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueHealth {
    /// Its name.
    pub queue: String,
    /// How many deliveries of it are unsettled here.
    pub in_flight: usize,
    /// For how many of them methods have been called.
    pub in_work: usize,
    /// How long the oldest of them has been here.
    pub oldest: Option<Duration>,
    /// How many have been settled since the program began.
    pub settled: u64,
    /// How long ago the last of them was.
    pub last_settled: Option<Duration>,
}

/// Copies for a queue that cannot be made: the deliveries stay unacknowledged, and the methods
/// are not called for others until they can.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// The queue that the copies are for.
    pub queue: String,
    /// The methods that owe them.
    pub methods: Vec<String>,
    /// What was said last.
    pub reason: String,
    /// For how long.
    pub since: Duration,
}

impl Health {
    /// Whether every queue has its consumer, and every copy can be made.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connection == Some(ConnectionState::Attached) && self.paused.is_empty()
    }

    /// Whether deliveries are being settled: false when a queue has had some in flight for
    /// `patience` and none of its own were settled in that time. A delivery may be in flight for
    /// [`RetryOptions::hold`](crate::runtime::options::RetryOptions::hold) while it waits for a copy or
    /// another call, and for the `handler_timeout` of each method that is called for it.
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
        let well = health(None, None);
        assert!(well.is_ready());
        let pause = Pause {
            queue: "q.dead".to_owned(),
            methods: Vec::new(),
            reason: "full".to_owned(),
            since: Duration::ZERO,
        };
        assert!(!Health { paused: vec![pause], ..well.clone() }.is_ready());
        assert!(!Health { connection: None, ..well }.is_ready());
    }
}
