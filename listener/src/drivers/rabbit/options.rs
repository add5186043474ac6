//! The options of the RabbitMQ driver, under oslo.messaging's names, each declared once; and the deadlines
//! that are not options. The query of a URL is read in `query.rs`, the setters are in `builder.rs`; what an
//! option does is in the file that reads it.

use std::path::PathBuf;
use std::time::Duration;

use crate::options::declare::options;
use crate::options::value::{
    FilePath, Kind, Name, Raw, Switch, TIME, Time, WholeSeconds, Words, Wrong, number,
};

/// How long the broker may take to answer one request, such as a declaration. A quorum queue
/// that elects its leader takes some seconds.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a session may take to end, channel and connection together, before its socket is cut.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// The part of `CLOSE_TIMEOUT` that is reserved for the last settlements and the close.
pub(super) const CLOSE_RESERVE: Duration = Duration::from_secs(1);
/// How often a session is checked apart from lapin's events, in case one of them is missed.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How long a session must have been open so that the delays start again from the first when it is lost.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(30);
/// The longest delay before another attempt after a permanent failure, which only an operator can fix.
pub(super) const PERMANENT_FAILURE_MAX_DELAY: Duration = Duration::from_secs(30);

/// The largest frame that is asked for, in bytes: RabbitMQ's default. lapin's buffers are a
/// multiple of it.
pub(super) const FRAME_MAX: u32 = 131_072;

/// The smallest frame that AMQP allows to agree on.
pub(super) const FRAME_MIN: u32 = 4096;

/// A delay between attempts to connect: kombu has seconds with fractions.
const DELAY: Time = TIME.within(Duration::ZERO, Duration::from_secs(3600)).with_fractions();

/// RabbitMQ's URI specification counts milliseconds.
const TIMEOUT: Time =
    TIME.within(Duration::from_millis(1), Duration::from_secs(3600)).in_milliseconds();

/// The least `channel_max`: a few to declare, and some for large messages.
const LEAST_CHANNELS: u16 = 16;

/// Options of oslo.messaging's section without effect here: once as a table, once as documentation.
macro_rules! without_effect {
    ($($name:literal),+ $(,)?) => {
        /// They concern RPC, connection pools or Python's notifier.
        pub(super) const WITHOUT_EFFECT: &[&str] = &[$($name),+];

        macro_rules! without_effect_text {
            () => { concat!($("`", $name, "` "),+) };
        }
    };
}

without_effect![
    "rpc_conn_pool_size",
    "conn_pool_min_size",
    "conn_pool_ttl",
    "kombu_compression",
    "kombu_missing_consumer_retry_timeout",
    "kombu_reconnect_splay",
    "rabbit_transient_quorum_queue",
    "rabbit_transient_queues_ttl",
    "rabbit_stream_fanout",
    "heartbeat_rate",
    "direct_mandatory_flag",
    "use_queue_manager",
    "hostname",
    "processname",
];

options! {
    /// The options of the RabbitMQ driver: the query parameters of a `rabbit://` or `amqp://` URL, and the
    /// setters of [`Rabbit::builder`](crate::driver::Rabbit::builder).
    ///
    /// | option | default | |
    /// |---|---|---|
    #[doc = rabbit_table!()]
    ///
    /// The names and meanings are those of oslo.messaging's section `[oslo_messaging_rabbit]`; the
    /// defaults differ where noted. An `amqp://` URL also takes those of RabbitMQ's URI query
    /// parameters: `heartbeat` and `auth_mechanism` for two of these options, and the options marked in the
    /// table. A duration is written as `30s`, `1m30s` or `500ms`,
    /// or as a number: of seconds, and of milliseconds for `connection_timeout`.
    ///
    /// # What is declared
    /// Existing queues and exchanges are used unchanged. With `rabbit://` missing ones are declared as
    /// oslo.messaging would declare them with the same options, so that programs that use it can declare
    /// them too: transient unless `amqp_durable_queues` or `rabbit_quorum_queue` is set. If neither option is
    /// given, existing exchanges and queues show what the deployment uses: if the exchange is durable,
    /// missing queues are declared durable; if another queue is a quorum queue, they are declared as quorum
    /// queues with the same limits; `amqp_auto_delete` is inferred in the same way. RabbitMQ shows these
    /// properties only to a user who may configure the exchange or queue. For other users a pool's queue is
    /// declared durable; a queue that other programs declare as well is not declared until an option says
    /// how: if it were declared differently, those programs could not publish. With `amqp://` missing queues
    /// and exchanges are declared durable.
    ///
    /// Queues and exchanges that this process saw before a broker restart are declared again with the same
    /// properties. The listener's own queues (for retries, dead letters and quarantine) are always durable,
    /// and have neither `amqp_auto_delete` nor a delivery limit.
    ///
    /// # Without effect
    /// Options of that section that concern RPC, connection pools or Python's notifier have no effect (a
    /// notifier has [`compression`](crate::NotifierBuilder::compression)):
    #[doc = without_effect_text!()]
    ///
    /// Former option names of oslo.messaging are accepted, with a warning.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct RabbitOptions;
    table rabbit_table;
    setters rabbit_setters;

    /// Whether declared queues and exchanges survive a restart of the broker.
    ///
    /// Default: with `amqp://` yes; with `rabbit://` as existing exchanges and queues, if there are any,
    /// otherwise no.
    pub amqp_durable_queues: Option<bool> as bool = [None] takes Switch, key "amqp_durable_queues";
    /// Whether declared queues and exchanges are deleted with their last consumer.
    ///
    /// Default: with `rabbit://` as existing exchanges and queues, if there are any; otherwise no.
    pub amqp_auto_delete: Option<bool> as bool = [None] takes Switch, key "amqp_auto_delete";
    /// Whether declared queues are quorum queues.
    pub rabbit_quorum_queue: Option<bool> as bool = [None] takes Switch, key "rabbit_quorum_queue";
    /// How often a quorum queue redelivers a message; 0 means the broker's default.
    ///
    /// From RabbitMQ 4.0 on a negative number means no limit; with one, earlier versions drop every
    /// redelivered message, and such a queue is refused like one with a low limit.
    pub rabbit_quorum_delivery_limit: i64 = [0]
        takes number(i64::MIN).or_zero_for("the broker's default, or below 0 for no limit"),
        key "rabbit_quorum_delivery_limit";
    /// How many messages a quorum queue keeps in memory; 0 means the broker's default.
    pub rabbit_quorum_max_memory_length: u32 = [0]
        takes number(0_u32), key "rabbit_quorum_max_memory_length";
    /// How many bytes a quorum queue keeps in memory; 0 means the broker's default.
    pub rabbit_quorum_max_memory_bytes: u32 = [0]
        takes number(0_u32), key "rabbit_quorum_max_memory_bytes";
    /// Whether queues are declared with `x-ha-policy: all`, as mirrored queues once were.
    pub rabbit_ha_queues: Option<bool> as bool = [None] takes Switch, key "rabbit_ha_queues";
    /// The maximum number of unacknowledged deliveries of a queue, instead of the listener's own `prefetch`.
    pub rabbit_qos_prefetch_count: Option<u16> as u16 = [None]
        takes number(1_u16)
            .because("0 would be unlimited, and a whole queue would be read into memory"),
        key "rabbit_qos_prefetch_count";
    /// Seconds between heartbeats (oslo.messaging: 60); 0 means the broker's value.
    ///
    /// A connection on which nothing arrives for twice as long counts as lost.
    pub heartbeat_timeout_threshold: u16 = [15]
        takes WholeSeconds, key "heartbeat_timeout_threshold";
    /// How to log in: `PLAIN`, `AMQPLAIN` (the default of oslo.messaging) or `EXTERNAL`.
    pub rabbit_login_method: LoginMethod = ["PLAIN" for LoginMethod::Plain]
        takes Words(&[
            ("PLAIN", LoginMethod::Plain),
            ("AMQPLAIN", LoginMethod::AmqPlain),
            ("EXTERNAL", LoginMethod::External),
        ]), key "rabbit_login_method";
    /// Whether connections use TLS (needs the feature `tls`). An `amqps://` URL does.
    ///
    /// The broker's certificate is always verified, and has to be for the host of the URL; oslo.messaging does so
    /// only with `ssl_ca_file`.
    pub ssl: bool = [false] takes Switch, key "ssl";
    /// The CAs to trust, in PEM format; without it those of the system. In an `amqp://` URL also `cacertfile`.
    ///
    /// The files are read again for each connection, so certificates can be replaced while the program runs.
    pub ssl_ca_file: Option<PathBuf> as PathBuf = [not given for None] takes FilePath, key "ssl_ca_file";
    /// The client certificate with its intermediate certificates, in PEM format. In an `amqp://` URL also `certfile`.
    pub ssl_cert_file: Option<PathBuf> as PathBuf = [not given for None] takes FilePath, key "ssl_cert_file";
    /// The key of the client certificate: PEM, as PKCS#8, PKCS#1 or SEC 1, not encrypted. In an `amqp://` URL also `keyfile`.
    ///
    /// Without it the key is read from `ssl_cert_file`.
    pub ssl_key_file: Option<PathBuf> as PathBuf = [not given for None] takes FilePath, key "ssl_key_file";
    /// The least version of TLS: `tlsv1_2` or `tlsv1_3`. Empty and `sslv23` mean the default.
    pub ssl_version: TlsVersion = ["tlsv1_2" for TlsVersion::Tls12]
        takes LeastTls, key "ssl_version";
    /// The name that the broker's certificate must have, and that is sent as SNI, instead of that of the host.
    pub server_name_indication: Option<String> as String = [not given for None]
        takes Name, key "server_name_indication" in "amqp://";
    /// The order in which hosts are tried: `round-robin` or `shuffle`.
    pub kombu_failover_strategy: FailoverStrategy = ["round-robin" for FailoverStrategy::RoundRobin]
        takes Words(&[
            ("round-robin", FailoverStrategy::RoundRobin),
            ("shuffle", FailoverStrategy::Shuffle),
        ]), key "kombu_failover_strategy";
    /// Added to each delay between attempts to connect (oslo.messaging: 1 s, without jitter).
    pub kombu_reconnect_delay: Duration = [100 ms] takes DELAY, key "kombu_reconnect_delay";
    /// The longest delay after the first round of all hosts: each delay is chosen at random from 0 to this.
    pub rabbit_retry_interval: Duration = [1 s] takes DELAY, key "rabbit_retry_interval";
    /// By how much the longest delay grows after each further round.
    pub rabbit_retry_backoff: Duration = [2 s] takes DELAY, key "rabbit_retry_backoff";
    /// The upper limit of the longest delay.
    pub rabbit_interval_max: Duration = [30 s] takes DELAY, key "rabbit_interval_max";
    /// Whether to consume a quorum queue whose delivery limit is below 5, and lose messages that are redelivered more often.
    ///
    /// Otherwise a listener refuses to start on such a queue: at the limit RabbitMQ drops everything that was
    /// in flight when a process crashed, before a listener can find out which message was the cause. A limit
    /// that a policy sets is not visible over AMQP. Not an option of oslo.messaging.
    pub allow_low_delivery_limit: bool = [false] takes Switch, key "allow_low_delivery_limit";
    /// Whether a consumer asks to be cancelled when a mirrored queue fails over.
    pub enable_cancel_on_failover: bool = [false] takes Switch, key "enable_cancel_on_failover";
    /// How long a host may take to accept a connection, log in and open the virtual host.
    ///
    /// If its name has several addresses, they share this time. In the first round several hosts share the
    /// time that is left for the start of the listener, or for the message.
    pub connection_timeout: Duration = [10 s] takes TIMEOUT, key "connection_timeout" in "amqp://";
    /// The most channels of a connection; 0 means the broker's limit.
    pub channel_max: u16 = [0]
        takes number(LEAST_CHANNELS).or_zero_for("the broker's limit"),
        key "channel_max" in "amqp://";
    /// The largest frame to ask for, in bytes; more than 131072 counts as that, and so does 0.
    ///
    /// The broker's limit is never exceeded.
    pub frame_max: u32 = [131072]
        takes number(FRAME_MIN).or_zero_for("131072"),
        key "frame_max" in "amqp://";
    /// Whether other programs declare the same queues and exchanges.
    pub(super) dialect: Dialect = [Dialect::Oslo];
}

/// Whose rules apply to the declaration of missing queues and exchanges.
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

/// The least version of TLS; empty or `sslv23`, which is any version for Python, is the default.
struct LeastTls;

impl Kind for LeastTls {
    type Value = TlsVersion;

    fn read(&self, raw: &Raw) -> Option<TlsVersion> {
        let Raw::Text(text) = raw else { return None };
        match text.to_ascii_lowercase().as_str() {
            "" | "sslv23" | "tlsv1_2" => Some(TlsVersion::Tls12),
            "tlsv1_3" => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    fn expected(&self) -> String {
        "`tlsv1_2` or `tlsv1_3`; older versions are not safe, and not supported".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "tlsv1_3"
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// The order in which hosts are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailoverStrategy {
    /// In an order that is chosen at random once for each process.
    RoundRobin,
    /// In a new random order for each round.
    Shuffle,
}

impl RabbitOptions {
    /// The largest frame to ask for, within what AMQP and lapin allow.
    pub(super) fn largest_frame(&self) -> u32 {
        match self.frame_max {
            0 => FRAME_MAX,
            size => size.clamp(FRAME_MIN, FRAME_MAX),
        }
    }

    /// An option that contradicts another one, and what it would have to be.
    pub(super) fn contradiction(&self) -> Option<(&'static str, Wrong)> {
        if self.ssl && cfg!(not(feature = "tls")) {
            let expected = "false, because this build has no TLS: enable the feature `tls` of the crate `listener`".to_owned();
            return Some(("ssl", Wrong { expected, found: "true".to_owned() }));
        }
        let is_both = self.rabbit_ha_queues == Some(true) && self.rabbit_quorum_queue == Some(true);
        is_both.then(|| {
            let expected = "false where rabbit_quorum_queue is true".to_owned();
            ("rabbit_ha_queues", Wrong { expected, found: "true".to_owned() })
        })
    }

    /// Whether the user has chosen the kind of queues, so that a queue of another kind is an error.
    /// `amqp_auto_delete` is compared separately.
    pub(super) fn chooses_queue_type(&self) -> bool {
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
