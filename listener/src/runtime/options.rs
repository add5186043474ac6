//! All options of a listener and all their defaults, in one place. `builder.rs` takes and
//! checks them; what they are called outside of the program is in `config.rs`.

use std::time::Duration;

use crate::dispatch::RetryOptions;
use crate::envelope::Limits;

/// How many deliveries a listener works on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Executor {
    /// One after the other, in the order in which they came.
    Sequential,
    /// Up to this many side by side; order is not kept.
    Concurrent(usize),
}

impl Executor {
    pub(crate) const fn at_once(self) -> usize {
        match self {
            Self::Sequential => 1,
            Self::Concurrent(number) => number,
        }
    }
}

/// The numbers of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many deliveries are worked on at once. Default: `Concurrent(64)`, as
    /// oslo.messaging's `executor_thread_pool_size`.
    pub executor: Executor,
    /// How many deliveries of one queue may be unsettled at once. Default: 100.
    pub prefetch: u16,
    /// How many bytes of bodies may be unsettled at once, over all queues. Default: 64 MiB.
    pub bytes_in_flight: usize,
    /// Whether a method may give a delivery back with `Outcome::Requeue`. Default: no.
    pub allow_requeue: bool,
    /// How long `start` waits for a broker that cannot be reached. Default: 30 s.
    pub start_timeout: Duration,
    /// How long `wait` lets methods run after `stop`; what is unfinished then goes back to
    /// the broker. Default: 30 s.
    pub shutdown_timeout: Duration,
    /// How long one attempt to send a dead letter may take. Default: 30 s.
    pub send_timeout: Duration,
    /// What `Outcome::Retry` does. Default: 5 calls, pauses of 1 s, 2 s, 4 s, 8 s, and at most
    /// 15 minutes for all of them.
    pub retry: RetryOptions,
    /// What a body may hold at most.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            executor: Executor::Concurrent(64),
            prefetch: 100,
            bytes_in_flight: 64 * 1024 * 1024,
            allow_requeue: false,
            start_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            retry: RetryOptions {
                attempts: 5,
                pause: Duration::from_secs(1),
                max_pause: Duration::from_secs(60),
                hold: Duration::from_secs(15 * 60),
            },
            limits: Limits::default(),
        }
    }
}
