//! All options of a listener and all their defaults, in one place. `builder.rs` takes and
//! checks them; what they are called outside of the program is in `config.rs`.

use std::time::Duration;

use crate::endpoint::policy::Policy;
use crate::envelope::Limits;

/// How many deliveries a listener works on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Executor {
    /// One after the other, in the order in which they came, whatever their priority; one that is
    /// to be tried again holds up those behind it.
    Sequential,
    /// Up to this many side by side; order is not kept. Of 8 or more, no priority takes the last
    /// eighth for itself.
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

/// What follows when a method fails: an error, a panic, a timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// It is called again as the retry options say, and then its notification goes to the dead
    /// letters.
    #[default]
    Retry,
    /// The whole delivery is given back at once, again and again, as oslo.messaging does with
    /// `allow_requeue`. It spins for as long as the method fails.
    Requeue,
    /// It counts as handled, and its error is in the log alone, as oslo.messaging does without
    /// `allow_requeue`. The notification is lost for this method. An inbox that cannot be asked is
    /// no failure of a method: that is retried all the same.
    Forget,
}

/// What follows when the body of a notification has no known priority, so that it says no method
/// that could be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnknownPriority {
    /// The priority is the one that the routing key ends in (`notifications.info`). A notification
    /// without that, and a body that is not a notification, goes to the dead letters with the
    /// reason `unknown-priority`.
    #[default]
    DeadLetter,
    /// It is acknowledged with a warning in the log, as oslo.messaging does. Nothing else keeps
    /// it.
    Lenient,
}

/// How often a method that fails is called for one notification, and after which pauses.
///
/// ```
/// use std::time::Duration;
///
/// use listener::options::RetryOptions;
///
/// let retry = RetryOptions::default().attempts(8).pause(Duration::from_secs(5));
/// assert_eq!(retry.attempts, 8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryOptions {
    /// How often a method is called for one notification, the first call included. Default: 5.
    pub attempts: u32,
    /// The longest pause before the second call; it doubles before each further one. Each pause
    /// is between half of this and the whole. Default: 1 s.
    pub pause: Duration,
    /// The longest of these pauses. Default: 60 s.
    pub max_pause: Duration,
    /// How long a delivery may be held in the process for its retries altogether, where the
    /// broker does not hold them back. A pause that would end later is not held: the broker holds
    /// it if it can. Where order is kept, that is so for a single pause longer than this, and its
    /// place in the order is lost; after many shorter ones, and where the broker cannot hold it,
    /// the notification goes to the dead letters. RabbitMQ takes back what is unsettled for 30
    /// minutes. Default: 15 minutes.
    ///
    /// Also how long a delivery is held whose retry or dead letter cannot be made, or whose method is
    /// paused, from when it was taken. After that, and after a second at least, a copy at the end of
    /// its queue takes its place, unless order is kept. What waits for its turn because it may end the
    /// process goes back to its queue after that, or after a minute if that is longer, unless it is in
    /// order in a work queue, or near the delivery limit of its queue; a copy takes its place if methods
    /// were called for it already.
    pub hold: Duration,
    /// Where a notification is while it waits. Default: with the broker.
    pub place: RetryPlace,
}

/// Where a notification is while it waits for another call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryPlace {
    /// In a retry queue of the broker: it takes no place here, and survives this process. Where
    /// the broker has none, or the user may not declare them, and where order is kept, it is held
    /// in the process.
    #[default]
    Broker,
    /// In the process, unacknowledged.
    Process,
}

setters!(RetryOptions {
    attempts: u32,
    pause: Duration,
    max_pause: Duration,
    hold: Duration,
    place: RetryPlace,
});

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts: 5,
            pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(60),
            hold: Duration::from_secs(15 * 60),
            place: RetryPlace::Broker,
        }
    }
}

impl RetryOptions {
    /// With what an endpoint says of its own.
    pub(super) fn with(self, policy: &Policy) -> Self {
        Self {
            attempts: policy.attempts.unwrap_or(self.attempts),
            pause: policy.pause.unwrap_or(self.pause),
            max_pause: policy.max_pause.unwrap_or(self.max_pause),
            ..self
        }
    }

    /// The pause after this many calls, at least 1. `chance` from 0 to 1 says where in its range
    /// it falls: those that failed together do not come back together.
    pub(super) fn pause_after(self, calls: u32, chance: f64) -> Duration {
        let doubled = 2_u32.checked_pow(calls.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.max_pause.min(self.pause.saturating_mul(doubled));
        longest / 2 + (longest / 2).mul_f64(chance.clamp(0.0, 1.0))
    }
}

/// When a delivery is taken for poison: for what ends the process that works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoisonOptions {
    /// After how many deaths a notification is quarantined: moved to `<queue>.quarantine` and
    /// worked on one at a time. The first death leaves no more than the broker's `redelivered`
    /// flag, as an orderly stop does, and that is no death: so this is 2 or more. Default: 2.
    pub suspect_after: u64,
    /// After how many further deaths it is a dead letter with the reason `poison`. Default: 3.
    pub give_up_after: u64,
}

setters!(PoisonOptions { suspect_after: u64, give_up_after: u64 });

impl Default for PoisonOptions {
    fn default() -> Self {
        Self { suspect_after: 2, give_up_after: 3 }
    }
}

/// The options of a listener, all at once; [`ListenerBuilder`](crate::ListenerBuilder) has a method for most.
///
/// ```
/// use std::time::Duration;
///
/// use listener::Listener;
/// use listener::options::Options;
///
/// let options = Options::default().prefetch(100).send_timeout(Duration::from_secs(10));
/// let builder = Listener::builder().options(options);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How many deliveries are worked on at once. Default: `Concurrent(64)`, as
    /// oslo.messaging's `executor_thread_pool_size`.
    pub executor: Executor,
    /// How many deliveries of one queue may be unsettled at once. Default: 1000.
    ///
    /// This is a maximum. On RabbitMQ the prefetch adapts to the pace of the methods: it is the
    /// number of concurrent deliveries, or the number settled per second if that is larger.
    /// Prefetched deliveries are not available to other listeners of the queue, and an `error`
    /// overtakes only deliveries that were prefetched. The prefetch also grows while deliveries
    /// wait without a slot, as for a retry; where most of them wait for earlier ones with the same
    /// order key (`ordered_by`), to as many as are settled in a minute.
    ///
    /// If methods suddenly become slow, up to `prefetch` deliveries may be waiting; choose a smaller
    /// value if they could not all begin within RabbitMQ's consumer timeout (30 minutes). A queue
    /// with a single active consumer always uses the whole prefetch. A queue of which the user may not
    /// ask whether it has one, as one who may not declare, has as many as are worked on at once.
    pub prefetch: u16,
    /// How many bytes of bodies may be unsettled at once, over all queues; one delivery of each
    /// queue is let through, however large. RabbitMQ counts deliveries and not bytes, so the
    /// prefetch is fitted: it begins with as many of each queue as there is room for if each has
    /// 16 MiB, and goes by the sizes that have come from then on. Default: 64 MiB.
    ///
    /// It is exceeded where large ones follow small ones, by what is on its way by then: at most a
    /// prefetch of them. And a queue with a single active consumer keeps the whole prefetch, as a
    /// change would hand it to another process. One of which the user may not ask whether it has one
    /// has as many as are worked on at once.
    ///
    /// As many bytes again may be open of bodies that came compressed: they count with what they
    /// have when they are open, for as long as their methods are called. One that finds no room
    /// waits, without a slot. No priority takes the last eighth, so that a flood of `info` holds up no
    /// `error`; one body that is larger than the rest takes all of that.
    pub bytes_in_flight: usize,
    /// Whether a method may give a delivery back with `Outcome::Requeue`. Default: no.
    pub allow_requeue: bool,
    /// How long `start` waits for a broker that cannot be reached. Default: 30 s.
    pub start_timeout: Duration,
    /// How long `wait` lets methods run after `stop`; what is unfinished then goes back to
    /// the broker. Default: 25 s, so that all is over before the 30 s after which Kubernetes and
    /// others kill a process.
    pub shutdown_timeout: Duration,
    /// How long one attempt to send a copy (a retry, a dead letter) may take before the methods
    /// that owe it pause and it is sent again. After an attempt that was not confirmed in time the
    /// next ones may take four times as long, and so on up to 64 times, so that few copies are sent
    /// twice. Default: 30 s.
    pub send_timeout: Duration,
    /// How long one call of a method may take. Default: 10 minutes; RabbitMQ takes back what is
    /// unsettled for 30.
    pub handler_timeout: Duration,
    /// What follows when a method fails.
    pub on_failure: OnFailure,
    /// What follows when the body has no known priority. Default: the routing key decides, else
    /// the notification goes to the dead letters.
    pub on_unknown_priority: OnUnknownPriority,
    /// How often it is called again, and when. Default: 5 calls, with pauses of up to 1 s, 2 s,
    /// 4 s and 8 s.
    pub retry: RetryOptions,
    /// When a notification is taken for one that ends the process. Default: quarantined after two
    /// deaths, a dead letter after three more.
    pub poison: PoisonOptions,
    /// What a body may hold at most.
    pub limits: Limits,
}

setters!(Options {
    executor: Executor,
    prefetch: u16,
    bytes_in_flight: usize,
    allow_requeue: bool,
    start_timeout: Duration,
    shutdown_timeout: Duration,
    send_timeout: Duration,
    handler_timeout: Duration,
    on_failure: OnFailure,
    on_unknown_priority: OnUnknownPriority,
    retry: RetryOptions,
    poison: PoisonOptions,
    limits: Limits,
});

impl Default for Options {
    fn default() -> Self {
        Self {
            executor: Executor::Concurrent(64),
            prefetch: 1000,
            bytes_in_flight: 64 * 1024 * 1024,
            allow_requeue: false,
            start_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(25),
            send_timeout: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(10 * 60),
            on_failure: OnFailure::Retry,
            on_unknown_priority: OnUnknownPriority::DeadLetter,
            retry: RetryOptions::default(),
            poison: PoisonOptions::default(),
            limits: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::shutdown::LAST_WAIT;
    use crate::runtime::suspect::journal::STOP_TIMEOUT;

    /// Kubernetes' `terminationGracePeriodSeconds`, if none is set.
    const GRACE: Duration = Duration::from_secs(30);

    #[test]
    fn a_stop_is_over_before_the_process_is_killed() {
        // The last is the driver's, for a broker that does not answer.
        let rest = LAST_WAIT + STOP_TIMEOUT + Duration::from_secs(3);
        assert!(Options::default().shutdown_timeout + rest < GRACE);
    }
}
