//! The options of a listener: `ListenerOptions` has those that `ListenerBuilder::options` sets,
//! `ExternalOptions` those that come from environment and file only. Origins and precedence are in `config/`.

use std::str::FromStr;
use std::time::Duration;

use crate::endpoint::policy::EndpointPolicy;
use crate::envelope::Limits;
use crate::options::declare::options;
use crate::options::value::{
    ABOVE_ZERO, Kind, List, Name, Raw, SecretUrl, Switch, TIME, Time, Words, number,
};
use crate::order::OrderKey;
use crate::target::Target;

/// How many deliveries a listener handles concurrently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Executor {
    /// One at a time, in order of arrival, whatever the priority. A retry delays all later deliveries.
    Sequential,
    /// Up to this many concurrently; order is not kept. With 8 or more slots, one eighth is reserved so
    /// that no single priority can use them all.
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

/// What happens when a method fails: an error, a panic, a timeout. An argument that cannot be extracted is a
/// failure as well. With `Requeue` and `Discard` the kind of an error has no effect; outcomes do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// The method is called again according to the retry options; after the last attempt the notification is
    /// dead-lettered.
    #[default]
    Retry,
    /// The whole delivery is requeued, as oslo.messaging does with `allow_requeue`. It is redelivered without a
    /// delay for as long as the method fails.
    Requeue,
    /// It counts as handled, and its error is only logged, as oslo.messaging does without
    /// `allow_requeue`. The notification is lost for this method. An inbox that cannot be read is not a
    /// failure of a method: the call is retried all the same.
    Discard,
}

/// What happens to a notification whose body has no known priority, so that no method can be called for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnknownPriority {
    /// The priority is the one that the routing key ends in (`notifications.info`). A notification
    /// without that, and a body that is not a notification, becomes a dead letter with the reason
    /// `unknown-priority`.
    #[default]
    DeadLetter,
    /// It is acknowledged with a warning in the log, as oslo.messaging does, and thereby lost.
    Acknowledge,
}

/// The queues that a listener consumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Queues {
    /// Those that all listeners without a pool share.
    #[default]
    Shared,
    /// The queue of a pool.
    Pool(String),
    /// The queue of a pool, which the broker deletes after a time without a consumer.
    Temporary {
        /// The pool.
        pool: String,
        /// How long it may have no consumer.
        expires: Duration,
    },
}

impl Queues {
    pub(crate) fn pool(&self) -> Option<&str> {
        match self {
            Self::Shared => None,
            Self::Pool(pool) | Self::Temporary { pool, .. } => Some(pool),
        }
    }

    pub(crate) const fn expires(&self) -> Option<Duration> {
        match self {
            Self::Shared | Self::Pool(_) => None,
            Self::Temporary { expires, .. } => Some(*expires),
        }
    }
}

/// How long the queue of a temporary pool may have no consumer: with less it would be deleted before it is
/// bound, and RabbitMQ counts milliseconds in 32 bits.
pub(crate) const EXPIRES: Time =
    TIME.within(Duration::from_secs(1), Duration::from_secs(49 * 24 * 3600));

/// An executor as it is configured from outside the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfiguredExecutor {
    Sequential,
    /// With this many slots; without a number, as many as the builder has.
    Concurrent(Option<usize>),
}

impl ConfiguredExecutor {
    /// The executor of a builder that has this one.
    pub(crate) fn over(self, given: Executor) -> Executor {
        match (self, given) {
            (Self::Sequential, _) => Executor::Sequential,
            (Self::Concurrent(Some(slots)), _) => Executor::Concurrent(slots),
            (Self::Concurrent(None), Executor::Concurrent(slots)) => Executor::Concurrent(slots),
            (Self::Concurrent(None), Executor::Sequential) => ListenerOptions::default().executor,
        }
    }
}

options! {
    /// The options that come only from outside the program; a builder has other methods for them.
    #[derive(Clone, PartialEq, Eq)]
    pub(crate) struct ExternalOptions;
    table external_table;
    setters external_setters;

    /// Where to consume from: a URL that [`Transport::open`](crate::Transport::open) takes.
    pub(crate) transport_url: Option<String> = [None] takes SecretUrl, key "transport_url";
    /// Topics, each as `topic` or `exchange/topic`; a list.
    pub(crate) topics: Vec<Target> = ["notifications" for Vec::new()] takes Topics, key "topics";
    /// The exchange of topics that name none.
    pub(crate) control_exchange: Option<String> = ["openstack" for None] takes Name, key "control_exchange";
    /// The pool whose queue is consumed, instead of the queues that listeners without a pool share.
    pub(crate) queues: Option<Queues> = [None] takes PoolName, key "pool";
    /// Only endpoints of these groups; a list.
    pub(crate) groups: Vec<String> = [not given for Vec::new()] takes List("names of groups"), key "group";
    /// Only these endpoints, each by its type, its `name`, its group, or the name of an instance; a list.
    pub(crate) enabled_endpoints: Vec<String> = [not given for Vec::new()]
        takes List("names of endpoints, instances or groups"), key "enabled_endpoints";
    /// Not these endpoints, each named as for `enabled_endpoints`; a list.
    pub(crate) disabled_endpoints: Vec<String> = [not given for Vec::new()]
        takes List("names of endpoints, instances or groups"), key "disabled_endpoints";
    /// `concurrent` or `sequential`.
    pub(crate) executor: Option<ConfiguredExecutor> = ["concurrent" for None]
        takes Words(&[
            ("concurrent", ConfiguredExecutor::Concurrent(None)),
            ("sequential", ConfiguredExecutor::Sequential),
        ]), key "executor";
    /// Deliveries that are handled concurrently; more than 1 contradicts `sequential`.
    pub(crate) executor_size: Option<usize> = ["64" for None]
        takes number(1_usize), key "executor_thread_pool_size";
    /// `publisher_id`, `event_type`, `payload.KEY` or `context.KEY`: equal ones are handled in sequence.
    pub(crate) ordered_by: Option<OrderKey> = [None] takes OrderText, key "ordered_by";
}

options! {
    /// The options of a listener, all at once; [`ListenerBuilder`](crate::ListenerBuilder) has a method for
    /// each.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use listener::Listener;
    /// use listener::options::ListenerOptions;
    ///
    /// let options = ListenerOptions::default().prefetch(100).send_timeout(Duration::from_secs(10));
    /// let builder = Listener::builder().options(options);
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct ListenerOptions;
    table options_table;
    setters options_setters;

    /// How many deliveries are handled concurrently.
    ///
    /// The default is that of oslo.messaging's `executor_thread_pool_size`.
    pub executor: Executor = [Executor::Concurrent(64)] takes Slots;
    /// Unacknowledged deliveries of one queue, at most.
    ///
    /// This is a maximum. On RabbitMQ the prefetch adapts to the pace of the methods: it is the
    /// number of concurrent deliveries, or the number settled per second if that is larger.
    /// Prefetched deliveries are not available to other listeners of the queue, and an `error`
    /// overtakes only deliveries that were prefetched. The prefetch also grows while deliveries
    /// wait without a slot, as for a retry; where most of them wait for earlier ones with the same
    /// order key (`ordered_by`), to as many as are settled in a minute.
    ///
    /// If methods suddenly become slow, up to `prefetch` deliveries may be waiting; choose a smaller
    /// value if they could not all start within RabbitMQ's consumer timeout (30 minutes). A queue
    /// with a single active consumer always uses the whole prefetch. If the user may not ask whether a
    /// queue has one (as a user without the permission to declare), its prefetch is the number of
    /// concurrent deliveries.
    pub prefetch: u16 = [1000]
        takes number(1_u16).because("0 would take the whole queue into memory"), key "prefetch";
    /// Bytes of unacknowledged bodies over all queues, at most.
    ///
    /// One delivery of each queue is accepted, however large. RabbitMQ counts deliveries and not bytes, so the
    /// prefetch adapts: until sizes are known each message counts as 16 MiB, then the prefetch follows the
    /// sizes that were received.
    ///
    /// It can be exceeded when large messages follow small ones, by at most one prefetch. A queue with a
    /// single active consumer keeps the whole prefetch, as a change would hand it to another process. If
    /// the user may not ask whether a queue has one, its prefetch is the number of concurrent deliveries.
    ///
    /// Compressed bodies may use as many bytes again once they are decompressed: they count with their
    /// decompressed size for as long as their methods are called. A body for which there is no room
    /// waits, without a slot. One eighth is reserved so that no single priority can use it all, and a
    /// flood of `info` does not delay `error`; a body that is larger than the rest takes all of that.
    pub bytes_in_flight: usize = [64 MiB] takes number(1_usize), key "bytes_in_flight";
    /// Whether a method may requeue a delivery with `Outcome::Requeue`.
    ///
    /// Poison messages are then not recognised: a redelivery is no evidence of a crash. The same applies
    /// to [`OnFailure::Requeue`]. Both need a driver that can requeue
    /// ([`Capabilities`](crate::driver::Capabilities)): otherwise the listener is not built.
    pub allow_requeue: bool = [false] takes Switch, key "allow_requeue";
    /// How long `start` waits for a broker that cannot be reached.
    pub start_timeout: Duration = [30 s] takes TIME, key "start_timeout";
    /// How long running methods may continue after `stop`; then their deliveries are released.
    ///
    /// With the default a stop ends before Kubernetes kills the process, after 30 s.
    pub shutdown_timeout: Duration = [25 s] takes TIME, key "shutdown_timeout";
    /// How long one send attempt of a copy (a retry, a dead letter) may take.
    ///
    /// After that its methods are paused, and it is sent again. After a send attempt that was not confirmed in
    /// time the next ones may take four times as long, and so on up to 64 times, so that few copies are sent
    /// twice.
    pub send_timeout: Duration = [30 s] takes ABOVE_ZERO;
    /// How long one call of a method may take.
    ///
    /// Then an `async fn` is dropped at the `.await` at which it waits. A plain `fn` cannot be stopped: it counts
    /// as failed and continues to run. RabbitMQ redelivers what is unacknowledged for 30 minutes.
    pub handler_timeout: Duration = [10 min] takes ABOVE_ZERO, key "handler_timeout";
    /// The most notifications of one call of a method that takes a [`Batch`](crate::Batch), unless its attribute says otherwise.
    ///
    /// Notifications that wait in a batch use no slot of the executor. Together the batches of a queue never have
    /// more than `prefetch` notifications; larger sizes are reduced in proportion.
    pub batch_size: u16 = [100] takes number(1_u16), key "batch_size";
    /// How long the first notification of a batch waits for others, at most.
    pub batch_timeout: Duration = [1 s] takes ABOVE_ZERO, key "batch_timeout";
    /// The bytes of bodies at which a batch is complete with fewer notifications.
    ///
    /// A batch has its own copy of its notifications while it waits and while the method runs. Together all
    /// batches that wait have fewer bytes than `bytes_in_flight`: with more methods each has less.
    pub batch_bytes: usize = [16 MiB] takes number(1_usize), key "batch_bytes";
    /// What happens when a method fails: retries and then a dead letter, or what oslo.messaging does.
    pub on_failure: OnFailure = [OnFailure::Retry];
    /// What happens to a body without a known priority: `dead_letter` (unless its routing key has one), `acknowledge`.
    ///
    /// [`OnUnknownPriority`] describes both.
    pub on_unknown_priority: OnUnknownPriority = ["dead_letter" for OnUnknownPriority::DeadLetter]
        takes Words(&[
            ("dead_letter", OnUnknownPriority::DeadLetter),
            ("acknowledge", OnUnknownPriority::Acknowledge),
        ]), key "on_unknown_priority";
    /// How often a method that fails is called again, and when.
    ///
    /// An endpoint's own options take precedence.
    pub retry: RetryOptions = [RetryOptions::default()];
    /// When a notification counts as poison: as one that crashes the process that handles it.
    pub poison: PoisonOptions = [PoisonOptions::default()];
    /// The limits of a body.
    pub limits: Limits = [Limits::default()];
}

options! {
    /// How often a method that fails is called for one notification, and after which delays.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use listener::options::RetryOptions;
    ///
    /// let retry = RetryOptions::default().attempts(8).delay(Duration::from_secs(5));
    /// assert_eq!(retry.attempts, 8);
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct RetryOptions;
    table retry_table;
    setters retry_setters;

    /// How often a method is called for one notification, including the first call.
    pub attempts: u32 = [5] takes number(1_u32), key "retry_attempts";
    /// The longest delay before the second call; it doubles before each further one.
    ///
    /// Each delay is between half of this and the whole.
    pub delay: Duration = [1 s] takes TIME, key "retry_delay";
    /// The longest of these delays.
    pub max_delay: Duration = [60 s] takes TIME, key "retry_max_delay";
    /// How long a delivery may be held unacknowledged in the process.
    ///
    /// Keep it below RabbitMQ's `consumer_timeout` (30 minutes). It limits:
    ///
    /// - Retries that are held in the process: a delay that would exceed this uses a retry queue if the broker
    ///   has one, otherwise the notification is dead-lettered. If order is kept, only a single longer delay
    ///   uses a retry queue, and the notification then loses its position.
    /// - Copies that cannot be sent, and paused methods: afterwards, counted from when the delivery was
    ///   received, and after a second at least, a copy at the end of the queue replaces the delivery, unless
    ///   order is kept.
    /// - Suspects that wait to be handled one at a time, at least for a minute; [`guide::failures`] describes
    ///   them.
    ///
    /// [`guide::failures`]: crate::guide::failures
    pub hold: Duration = [15 min] takes ABOVE_ZERO;
    /// Where a notification is stored while it waits for another call.
    pub storage: RetryStorage = [RetryStorage::Broker];
}

options! {
    /// When a notification counts as poison: as one that crashes the process that handles it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct PoisonOptions;
    table poison_table;
    setters poison_setters;

    /// After how many crashes a notification is quarantined: moved to another queue, and handled one at a time.
    ///
    /// The queue is `<queue>.quarantine`. The first crash leaves no more than the broker's `redelivered`
    /// flag, as an orderly stop does, and such a stop is not a crash: so this is 2 or more.
    pub quarantine_after: u64 = [2]
        takes number(2_u64).because("a first crash looks like an orderly stop");
    /// After how many further crashes it becomes a dead letter with the reason `poison`.
    pub dead_letter_after: u64 = [3] takes number(1_u64);
}

/// Where a notification is stored while it waits for another call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryStorage {
    /// In a retry queue of the broker: it uses no slot of the listener, and survives a crash of the process. If
    /// the broker has no retry queues, the user may not declare them, or order is kept, it is held in the
    /// process.
    #[default]
    Broker,
    /// In the process, unacknowledged.
    Process,
}

impl RetryOptions {
    /// These options with those of an endpoint.
    pub(crate) fn with(&self, policy: &EndpointPolicy) -> Self {
        Self {
            attempts: policy.attempts.unwrap_or(self.attempts),
            delay: policy.delay.unwrap_or(self.delay),
            max_delay: policy.max_delay.unwrap_or(self.max_delay),
            ..self.clone()
        }
    }

    /// The delay after this many calls, at least 1. `jitter` from 0 to 1 is its position in its range:
    /// notifications that failed together do not come back together.
    pub(crate) fn delay_after(&self, calls: u32, jitter: f64) -> Duration {
        let doubled = 2_u32.checked_pow(calls.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.max_delay.min(self.delay.saturating_mul(doubled));
        longest / 2 + (longest / 2).mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// The slots of an executor that a program set.
struct Slots;

impl Kind for Slots {
    type Value = Executor;

    fn read(&self, raw: &Raw) -> Option<Executor> {
        number(1_usize).read(raw).map(Executor::Concurrent)
    }

    fn accepts(&self, executor: &Executor) -> bool {
        executor.at_once() > 0
    }

    fn expected(&self) -> String {
        "`Concurrent(1)` or more".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "8"
    }
}

/// The name of a pool.
struct PoolName;

impl Kind for PoolName {
    type Value = Queues;

    fn read(&self, raw: &Raw) -> Option<Queues> {
        Name.read(raw).map(Queues::Pool)
    }

    fn expected(&self) -> String {
        Name.expected()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        Name.example()
    }
}

/// A list of topics.
struct Topics;

impl Topics {
    const LIST: List = List("topics, or exchange/topic");
}

impl Kind for Topics {
    type Value = Vec<Target>;

    fn read(&self, raw: &Raw) -> Option<Vec<Target>> {
        let topics = Self::LIST.read(raw)?;
        Some(topics.iter().map(|topic| Target::from(topic.as_str())).collect())
    }

    fn expected(&self) -> String {
        Self::LIST.expected()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "notifications, nova/versioned_notifications"
    }
}

/// A part of a notification.
struct OrderText;

impl Kind for OrderText {
    type Value = OrderKey;

    fn read(&self, raw: &Raw) -> Option<OrderKey> {
        OrderKey::from_str(&Name.read(raw)?).ok()
    }

    fn expected(&self) -> String {
        "`publisher_id`, `event_type`, `payload.KEY` or `context.KEY`".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "payload.instance_id"
    }
}
