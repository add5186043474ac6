//! The options of the RabbitMQ driver, as the query of the transport URL gives them, under
//! oslo.messaging's names; and the deadlines that are not for choosing. How the query is read
//! is `query.rs`; what an option does is in the file that asks for it.

use std::time::Duration;

/// How long the broker may take to answer one request, such as a declaration. A quorum queue
/// that elects its leader takes some seconds.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a session may take to end, channel and connection together, before its socket is cut.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// The part of `CLOSE_TIMEOUT` that is kept for the last settlements and the close.
pub(super) const LEAVING: Duration = Duration::from_secs(1);
/// How often a session is looked at besides its events: the net under lapin's signals.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How long a session must have stood for the pauses to begin anew when it is lost.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(30);
/// The longest pause after a refusal that only a person can fix.
pub(super) const MISTAKE_PAUSE: Duration = Duration::from_secs(30);

/// The largest frame that is asked for, in bytes: RabbitMQ's default. lapin's buffers are a
/// multiple of it.
pub(super) const FRAME_MAX: u32 = 131_072;

/// The smallest frame that AMQP allows to agree on.
pub(super) const FRAME_MIN: u32 = 4096;

/// What the query of a `rabbit://` or `amqp://` URL may say.
///
/// The names and meanings are those of oslo.messaging's section `[oslo_messaging_rabbit]`; the
/// defaults differ where noted. An `amqp://` URL also takes those of RabbitMQ's URI query
/// parameters: `heartbeat`, `connection_timeout`, `channel_max`, `auth_mechanism` (`plain`,
/// `amqplain`, `external`) and `frame_max`. Those that concern TLS have no effect.
///
/// # What is declared
/// Queues and exchanges that exist are used as they are. With `rabbit://` those that are missing
/// are declared as oslo.messaging would declare them with the same options, so that programs that
/// use it can declare them too: transient unless `amqp_durable_queues` or `rabbit_quorum_queue` is
/// set. Where neither is given, what exists shows what the deployment uses: if the exchange is
/// durable, or a queue is a quorum queue, so is what is declared, and with the same limits;
/// `amqp_auto_delete` is taken over in the same way. RabbitMQ shows it only to an account that may
/// configure what exists. To another one a pool's queue is declared durable; a queue that other
/// programs declare, too, is not declared until an option says how, for declared otherwise it would
/// keep services from publishing. With `amqp://` what is missing is durable.
/// What this process has seen and has vanished with the broker is declared as it was. Queues of the
/// listener's own (retries, dead letters, quarantine) are always durable, and neither
/// `amqp_auto_delete` nor a delivery limit is theirs.
///
/// # Without effect
/// Options of that section that concern RPC, connection pools or Python's notifier have none:
/// `rpc_conn_pool_size`, `conn_pool_min_size`, `conn_pool_ttl`, `kombu_compression` (a notifier
/// has [`compression`](crate::notifier::builder::NotifierBuilder::compression)),
/// `kombu_missing_consumer_retry_timeout`, `kombu_reconnect_splay`,
/// `rabbit_transient_quorum_queue`, `rabbit_transient_queues_ttl`, `rabbit_stream_fanout`,
/// `heartbeat_rate`, `direct_mandatory_flag`, `use_queue_manager`, `hostname`, `processname`.
/// Names that oslo.messaging had in older releases are read as those that replaced them, with a
/// warning.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RabbitOptions {
    /// Whether queues and exchanges that are declared survive a restart of the broker. Not given:
    /// with `amqp://` they do; with `rabbit://` they do if what exists already does, else they do
    /// not.
    pub amqp_durable_queues: Option<bool>,
    /// Whether queues and exchanges that are declared vanish with their last consumer. Not given: as
    /// what exists with `rabbit://`, else they do not.
    pub amqp_auto_delete: Option<bool>,
    /// Whether queues that are declared are quorum queues.
    pub rabbit_quorum_queue: Option<bool>,
    /// How often a quorum queue gives a message out again; 0 leaves it to the broker. From RabbitMQ 4.0
    /// on a negative number means without a limit; earlier versions drop what comes back then, and
    /// such a queue is refused as one with a low limit.
    pub rabbit_quorum_delivery_limit: i64,
    /// How many messages a quorum queue keeps in memory; 0 leaves it to the broker.
    pub rabbit_quorum_max_memory_length: u32,
    /// How many bytes a quorum queue keeps in memory; 0 leaves it to the broker.
    pub rabbit_quorum_max_memory_bytes: u32,
    /// Whether queues are declared with `x-ha-policy: all`, to fit those that were.
    pub rabbit_ha_queues: Option<bool>,
    /// How many deliveries of a queue may be unsettled; in place of the listener's own.
    pub rabbit_qos_prefetch_count: Option<u16>,
    /// Seconds of silence between heartbeats; a connection that is silent for twice as long
    /// is given up. 0 leaves it to the broker. Default 15 (oslo.messaging: 60).
    pub heartbeat_timeout_threshold: u16,
    /// How to log in. Default `PLAIN` (oslo.messaging: `AMQPLAIN`).
    pub rabbit_login_method: LoginMethod,
    /// Which host comes next.
    pub kombu_failover_strategy: FailoverStrategy,
    /// What is added to each pause, in seconds. Default 0.1 (oslo.messaging: 1.0, but its
    /// pauses have no jitter).
    pub kombu_reconnect_delay: Duration,
    /// The longest pause after the first round of all hosts, in seconds: a pause is anything
    /// from 0 to this. Default 1.
    pub rabbit_retry_interval: Duration,
    /// How many seconds longer after each further round. Default 2.
    pub rabbit_retry_backoff: Duration,
    /// The longest pause there is, in seconds. Default 30.
    pub rabbit_interval_max: Duration,
    /// Whether to consume a quorum queue whose delivery limit is below 5, and lose what is given
    /// out more often. Not given, a listener does not start on one: RabbitMQ drops at the limit
    /// what was in flight when a process died, before a listener can tell which of it was to
    /// blame. A limit that a policy sets does not show over AMQP. Not an option of oslo.messaging.
    pub allow_low_delivery_limit: bool,
    /// Whether a consumer asks to be cancelled when a mirrored queue fails over.
    pub enable_cancel_on_failover: bool,
    /// How long a host may take to accept a connection, log in and open the virtual host. Each of
    /// several addresses behind its name gets a share. In a first round each of several hosts gets
    /// no more than its share of the time for the start, or for the message. Default 10 s. `amqp://` only, in
    /// milliseconds.
    pub connection_timeout: Duration,
    /// The most channels of a connection; 0 leaves it to the broker. `amqp://` only.
    pub channel_max: u16,
    /// The largest frame to ask for, in bytes: 4096 to 131072. The broker's limit is never exceeded.
    /// `amqp://` only.
    pub frame_max: u32,
    /// Who else declares the same queues and exchanges.
    pub(super) dialect: Dialect,
}

/// Whose rules hold for what is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `rabbit://`: programs that use oslo.messaging declare the same.
    #[default]
    Oslo,
    /// `amqp://`: no other program needs to.
    Amqp,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginMethod {
    /// `PLAIN`.
    Plain,
    /// `AMQPLAIN`.
    AmqPlain,
    /// `EXTERNAL`: the broker knows the user by other means.
    External,
}

/// Which host comes after one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailoverStrategy {
    /// The next one of an order that is drawn once for each process.
    RoundRobin,
    /// Each round in a new order.
    Shuffle,
}

impl Default for RabbitOptions {
    fn default() -> Self {
        Self {
            amqp_durable_queues: None,
            amqp_auto_delete: None,
            rabbit_quorum_queue: None,
            rabbit_quorum_delivery_limit: 0,
            rabbit_quorum_max_memory_length: 0,
            rabbit_quorum_max_memory_bytes: 0,
            rabbit_ha_queues: None,
            rabbit_qos_prefetch_count: None,
            heartbeat_timeout_threshold: 15,
            rabbit_login_method: LoginMethod::Plain,
            kombu_failover_strategy: FailoverStrategy::RoundRobin,
            kombu_reconnect_delay: Duration::from_millis(100),
            rabbit_retry_interval: Duration::from_secs(1),
            rabbit_retry_backoff: Duration::from_secs(2),
            rabbit_interval_max: Duration::from_secs(30),
            allow_low_delivery_limit: false,
            enable_cancel_on_failover: false,
            connection_timeout: Duration::from_secs(10),
            channel_max: 0,
            frame_max: FRAME_MAX,
            dialect: Dialect::Oslo,
        }
    }
}

impl RabbitOptions {
    /// The largest frame to ask for, within what AMQP and lapin allow.
    pub(super) fn largest_frame(&self) -> u32 {
        match self.frame_max {
            0 => FRAME_MAX,
            size => size.clamp(FRAME_MIN, FRAME_MAX),
        }
    }

    /// Whether the user said of which kind queues should be, so that one that is otherwise must be
    /// told of. `amqp_auto_delete` is compared by itself.
    pub(super) fn ask_for_queues(&self) -> bool {
        self.amqp_durable_queues.is_some()
            || self.rabbit_quorum_queue.is_some()
            || self.rabbit_ha_queues.is_some()
    }

    pub(super) fn durable(&self) -> bool {
        self.amqp_durable_queues.unwrap_or(self.dialect == Dialect::Amqp) || self.quorum()
    }

    pub(super) fn auto_delete(&self) -> bool {
        self.amqp_auto_delete.unwrap_or(false)
    }

    pub(super) fn quorum(&self) -> bool {
        self.rabbit_quorum_queue.unwrap_or(false)
    }
}
