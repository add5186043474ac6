//! Reads the query of a transport URL into `RabbitOptions`: each name, each value, and what is
//! wrong with them. What the options mean is `options.rs`. Called by `Rabbit::new`.

use std::str::FromStr;
use std::time::Duration;

use super::options::{Dialect, FRAME_MAX, FRAME_MIN, FailoverStrategy, LoginMethod, RabbitOptions};
use crate::nearest::nearest;
use crate::shown::shown;
use crate::transport::error::OpenError;
use crate::transport::url::TransportUrl;

const EFFECTIVE: &[&str] = &[
    "amqp_durable_queues",
    "amqp_auto_delete",
    "rabbit_quorum_queue",
    "rabbit_quorum_delivery_limit",
    "rabbit_quorum_max_memory_length",
    "rabbit_quorum_max_memory_bytes",
    "rabbit_ha_queues",
    "rabbit_qos_prefetch_count",
    "heartbeat_timeout_threshold",
    "rabbit_login_method",
    "kombu_failover_strategy",
    "kombu_reconnect_delay",
    "rabbit_retry_interval",
    "rabbit_retry_backoff",
    "rabbit_interval_max",
    "allow_low_delivery_limit",
    "enable_cancel_on_failover",
    "ssl",
];

const WITHOUT_EFFECT: &[&str] = &[
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

/// What RabbitMQ's URI specification calls otherwise, in `amqp://` URLs, and the option that is
/// meant.
const OF_AMQP: &[(&str, &str)] =
    &[("heartbeat", "heartbeat_timeout_threshold"), ("auth_mechanism", "rabbit_login_method")];

/// What only an `amqp://` URL has.
const AMQP_ONLY: &[&str] = &["connection_timeout", "channel_max", "frame_max"];

/// What RabbitMQ's URI specification has for TLS.
const AMQP_TLS: &[&str] = &[
    "cacertfile",
    "certfile",
    "keyfile",
    "verify",
    "fail_if_no_peer_cert",
    "server_name_indication",
];

/// The least `channel_max`: a few to declare, and some for large messages.
const LEAST_CHANNELS: u16 = 16;

/// What became of an option of an older oslo.messaging.
enum Retired {
    /// It has another name.
    Renamed(&'static str),
    /// It has no effect on notifications any more; why.
    Ignored(&'static str),
    /// It cannot be an option; what stands in its place.
    Gone(&'static str),
}

const RETIRED: &[(&str, Retired)] = &[
    ("rabbit_durable_queues", Retired::Renamed("amqp_durable_queues")),
    ("rabbit_auto_delete", Retired::Renamed("amqp_auto_delete")),
    ("rabbit_use_ssl", Retired::Renamed("ssl")),
    ("kombu_ssl_version", Retired::Renamed("ssl_version")),
    ("kombu_ssl_keyfile", Retired::Renamed("ssl_key_file")),
    ("kombu_ssl_certfile", Retired::Renamed("ssl_cert_file")),
    ("kombu_ssl_ca_certs", Retired::Renamed("ssl_ca_file")),
    ("kombu_reconnect_timeout", Retired::Renamed("kombu_missing_consumer_retry_timeout")),
    ("heartbeat_in_pthread", Retired::Ignored("heartbeats never depend on the program's threads")),
    ("rabbit_max_retries", Retired::Ignored("a connection is retried until the caller's timeout")),
    ("max_retries", Retired::Ignored("a connection is retried until the caller's timeout")),
    ("send_single_reply", Retired::Ignored("it concerned RPC")),
    ("fake_rabbit", Retired::Gone("for a bus in memory use a `memory://` URL")),
    ("rabbit_host", Retired::Gone("write the host as in `rabbit://user:password@host:5672`")),
    ("rabbit_port", Retired::Gone("write the port as in `rabbit://user:password@host:5672`")),
    (
        "rabbit_hosts",
        Retired::Gone(
            "write the hosts as in `rabbit://user:password@host1:5672,user:password@host2:5672/`",
        ),
    ),
    ("rabbit_userid", Retired::Gone("write the user as in `rabbit://user:password@host:5672`")),
    (
        "rabbit_password",
        Retired::Gone("write the password as in `rabbit://user:password@host:5672`"),
    ),
    (
        "rabbit_virtual_host",
        Retired::Gone("write the virtual host as in `rabbit://user:password@host:5672/vhost`"),
    ),
];

impl RabbitOptions {
    /// Reads the query of a transport URL.
    ///
    /// # Errors
    /// An option is unknown, or has a value that it cannot have.
    pub fn from_url(url: &TransportUrl) -> Result<Self, OpenError> {
        let is_amqp = url.scheme() == "amqp";
        let dialect = if is_amqp { Dialect::Amqp } else { Dialect::Oslo };
        let mut options = Self { dialect, ..Self::default() };
        let (mut retired, mut renamed) = (Vec::new(), Vec::new());
        for (name, value) in url.query() {
            match RETIRED.iter().find(|(old, _)| old == name) {
                None => options.set(name, value)?,
                Some((_, Retired::Renamed(new))) => {
                    let named = |error| under_its_old_name(error, name, new);
                    options.set(new, value).map_err(named)?;
                    renamed.push((name, *new, value));
                    retired.push(format!("{name} (now {new})"));
                }
                Some((_, Retired::Ignored(why))) => {
                    retired.push(format!("{name} (no effect: {why})"));
                }
                Some((_, Retired::Gone(successor))) => {
                    return Err(OpenError::RetiredOption { option: name.clone(), successor });
                }
            }
        }
        for (old, new, value) in renamed {
            if let Some((_, other)) = url.query().iter().find(|(name, _)| name == new)
                && Self::of_one(dialect, new, value)? != Self::of_one(dialect, new, other)?
            {
                return Err(OpenError::Contradiction { option: new, retired: old.clone() });
            }
        }
        if !retired.is_empty() {
            tracing::warn!(
                options = retired.join(", "),
                "options of older releases of oslo.messaging are in the transport URL; its newest refuses them"
            );
        }
        if options.rabbit_ha_queues == Some(true) && options.rabbit_quorum_queue == Some(true) {
            return Err(invalid(
                "rabbit_ha_queues",
                "false where rabbit_quorum_queue is true",
                "true",
            ));
        }
        Ok(options)
    }

    /// The options where one alone is given.
    fn of_one(dialect: Dialect, name: &str, value: &str) -> Result<Self, OpenError> {
        let mut options = Self { dialect, ..Self::default() };
        options.set(name, value)?;
        Ok(options)
    }

    /// Takes one of the options that `amqp://` URLs have in addition to oslo.messaging's. Whether it is
    /// one.
    fn set_amqp(&mut self, name: &str, value: &str) -> Result<bool, OpenError> {
        if self.dialect != Dialect::Amqp {
            return Ok(false);
        }
        match name {
            "heartbeat" => self.heartbeat_timeout_threshold = number(name, value)?,
            "auth_mechanism" => self.rabbit_login_method = login_method(name, value)?,
            "connection_timeout" => self.connection_timeout = milliseconds(name, value)?,
            "channel_max" => self.channel_max = channels(name, value)?,
            "frame_max" => self.frame_max = frame_size(name, value)?,
            _ if AMQP_TLS.contains(&name) => {
                tracing::debug!(option = name, "has no effect: TLS is not built in yet");
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The known option that is nearest to a name.
    fn nearest(&self, name: &str) -> Option<String> {
        if self.dialect == Dialect::Oslo
            && let Some((_, ours)) = OF_AMQP.iter().find(|(theirs, _)| *theirs == name)
        {
            return Some((*ours).to_owned());
        }
        let of_amqp = OF_AMQP.iter().map(|(theirs, _)| *theirs).chain(AMQP_ONLY.iter().copied());
        let of_amqp = of_amqp.filter(|_| self.dialect == Dialect::Amqp);
        let known = EFFECTIVE.iter().chain(WITHOUT_EFFECT).copied().chain(of_amqp);
        nearest(name, known).map(str::to_owned)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), OpenError> {
        match name {
            "amqp_durable_queues" => self.amqp_durable_queues = Some(truth(name, value)?),
            "amqp_auto_delete" => self.amqp_auto_delete = Some(truth(name, value)?),
            "rabbit_quorum_queue" => self.rabbit_quorum_queue = Some(truth(name, value)?),
            "allow_low_delivery_limit" => self.allow_low_delivery_limit = truth(name, value)?,
            "rabbit_quorum_delivery_limit" => {
                self.rabbit_quorum_delivery_limit = delivery_limit(name, value)?;
            }
            "rabbit_quorum_max_memory_length" => {
                self.rabbit_quorum_max_memory_length = number(name, value)?;
            }
            "rabbit_quorum_max_memory_bytes" => {
                self.rabbit_quorum_max_memory_bytes = number(name, value)?;
            }
            "rabbit_ha_queues" => self.rabbit_ha_queues = Some(truth(name, value)?),
            "rabbit_qos_prefetch_count" => {
                self.rabbit_qos_prefetch_count = Some(prefetch(name, value)?);
            }
            "heartbeat_timeout_threshold" => {
                self.heartbeat_timeout_threshold = number(name, value)?;
            }
            "rabbit_login_method" => self.rabbit_login_method = login_method(name, value)?,
            "kombu_failover_strategy" => self.kombu_failover_strategy = strategy(name, value)?,
            "kombu_reconnect_delay" => self.kombu_reconnect_delay = seconds(name, value)?,
            "rabbit_retry_interval" => self.rabbit_retry_interval = seconds(name, value)?,
            "rabbit_retry_backoff" => self.rabbit_retry_backoff = seconds(name, value)?,
            "rabbit_interval_max" => self.rabbit_interval_max = seconds(name, value)?,
            "enable_cancel_on_failover" => self.enable_cancel_on_failover = truth(name, value)?,
            "ssl" => no_tls(name, value)?,
            _ if name.starts_with("ssl_") => {
                tracing::debug!(option = name, "has no effect: TLS is not built in yet");
            }
            _ if WITHOUT_EFFECT.contains(&name) => {
                tracing::debug!(option = name, "has no effect on notifications");
            }
            _ => {
                if !self.set_amqp(name, value)? {
                    let near = self.nearest(name);
                    return Err(OpenError::UnknownOption { option: shown(name), near });
                }
            }
        }
        Ok(())
    }
}

fn invalid(option: &str, expected: &str, found: &str) -> OpenError {
    OpenError::InvalidOption {
        option: option.to_owned(),
        expected: expected.to_owned(),
        found: shown(found),
    }
}

/// Names the option as the URL does, and what it is called now.
fn under_its_old_name(error: OpenError, old: &str, new: &str) -> OpenError {
    match error {
        OpenError::InvalidOption { expected, found, .. } => OpenError::InvalidOption {
            option: old.to_owned(),
            expected: format!("{expected} (the option is called {new:?} now)"),
            found,
        },
        other => other,
    }
}

fn truth(option: &str, value: &str) -> Result<bool, OpenError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(invalid(option, "true or false", value)),
    }
}

fn number<N: FromStr>(option: &str, value: &str) -> Result<N, OpenError> {
    value.parse().map_err(|_| invalid(option, "a whole number that is not negative", value))
}

fn delivery_limit(option: &str, value: &str) -> Result<i64, OpenError> {
    let expected = "a whole number: 0 for the broker's default, below 0 for no limit";
    value.parse().map_err(|_| invalid(option, expected, value))
}

fn prefetch(option: &str, value: &str) -> Result<u16, OpenError> {
    match number(option, value)? {
        0 => Err(invalid(
            option,
            "1 to 65535 (0 would be unlimited, and a whole queue would come into memory)",
            value,
        )),
        count => Ok(count),
    }
}

fn seconds(option: &str, value: &str) -> Result<Duration, OpenError> {
    value
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|pause| *pause <= Duration::from_secs(3600))
        .ok_or_else(|| invalid(option, "seconds from 0 to 3600", value))
}

fn milliseconds(option: &str, value: &str) -> Result<Duration, OpenError> {
    match number(option, value)? {
        millis @ 1..=3_600_000 => Ok(Duration::from_millis(millis)),
        _ => Err(invalid(option, "milliseconds from 1 to 3600000", value)),
    }
}

fn channels(option: &str, value: &str) -> Result<u16, OpenError> {
    match number(option, value)? {
        1..LEAST_CHANNELS => {
            Err(invalid(option, "16 to 65535, or 0 for the broker's limit", value))
        }
        count => Ok(count),
    }
}

fn frame_size(option: &str, value: &str) -> Result<u32, OpenError> {
    match number(option, value)? {
        0 => Ok(FRAME_MAX),
        // AMQP allows none that is smaller.
        1..FRAME_MIN => {
            Err(invalid(option, "4096 or more bytes, or 0 for the broker's limit", value))
        }
        size => Ok(FRAME_MAX.min(size)),
    }
}

fn login_method(option: &str, value: &str) -> Result<LoginMethod, OpenError> {
    match value.to_ascii_uppercase().as_str() {
        "PLAIN" => Ok(LoginMethod::Plain),
        "AMQPLAIN" => Ok(LoginMethod::AmqPlain),
        "EXTERNAL" => Ok(LoginMethod::External),
        _ => Err(invalid(option, "PLAIN, AMQPLAIN or EXTERNAL", value)),
    }
}

fn strategy(option: &str, value: &str) -> Result<FailoverStrategy, OpenError> {
    match value {
        "round-robin" => Ok(FailoverStrategy::RoundRobin),
        "shuffle" => Ok(FailoverStrategy::Shuffle),
        _ => Err(invalid(option, "round-robin or shuffle", value)),
    }
}

fn no_tls(option: &str, value: &str) -> Result<(), OpenError> {
    if truth(option, value)? {
        return Err(invalid(
            option,
            "false, for TLS is not built in yet: use a port without TLS",
            value,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<RabbitOptions, String> {
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        of_url(&format!("rabbit://h/?{}", query.join("&")))
    }

    fn of_url(url: &str) -> Result<RabbitOptions, String> {
        let url = url.parse().expect("a transport URL");
        RabbitOptions::from_url(&url).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_under_their_names() {
        let expected = RabbitOptions {
            amqp_durable_queues: Some(false),
            rabbit_quorum_queue: Some(true),
            rabbit_quorum_delivery_limit: 5,
            rabbit_qos_prefetch_count: Some(50),
            heartbeat_timeout_threshold: 60,
            rabbit_login_method: LoginMethod::AmqPlain,
            kombu_failover_strategy: FailoverStrategy::Shuffle,
            kombu_reconnect_delay: Duration::from_millis(1500),
            rabbit_interval_max: Duration::from_secs(10),
            allow_low_delivery_limit: true,
            ..RabbitOptions::default()
        };
        let found = read(&[
            ("amqp_durable_queues", "False"),
            ("rabbit_quorum_queue", "yes"),
            ("rabbit_quorum_delivery_limit", "5"),
            ("rabbit_qos_prefetch_count", "50"),
            ("heartbeat_timeout_threshold", "60"),
            ("rabbit_login_method", "AMQPLAIN"),
            ("kombu_failover_strategy", "shuffle"),
            ("kombu_reconnect_delay", "1.5"),
            ("rabbit_interval_max", "10"),
            ("allow_low_delivery_limit", "true"),
            ("conn_pool_ttl", "1200"),
            ("ssl", "false"),
            ("ssl_ca_file", "/ca.pem"),
        ]);
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn a_negative_delivery_limit_is_none() {
        let limit = |value| {
            let read = read(&[("rabbit_quorum_delivery_limit", value)]);
            read.map(|options| options.rabbit_quorum_delivery_limit)
        };
        assert_eq!(limit("-1"), Ok(-1));
        let error = limit("many").expect_err("no number");
        assert!(error.contains("a whole number: 0 for the broker's default"), "{error}");
    }

    #[test]
    fn mistakes_name_what_was_expected() {
        let check = |name, value, expected: &str| {
            assert_eq!(read(&[(name, value)]), Err(expected.to_owned()));
        };
        check(
            "rabbit_quorum_queues",
            "true",
            "unknown option \"rabbit_quorum_queues\" in the query of the transport URL; did you mean \"rabbit_quorum_queue\"?",
        );
        check(
            "amqp_durable_queues",
            "maybe",
            "option \"amqp_durable_queues\" of the transport URL: expected true or false, found \"maybe\"",
        );
        check(
            "rabbit_qos_prefetch_count",
            "0",
            "option \"rabbit_qos_prefetch_count\" of the transport URL: expected 1 to 65535 (0 would be unlimited, and a whole queue would come into memory), found \"0\"",
        );
        check(
            "ssl",
            "1",
            "option \"ssl\" of the transport URL: expected false, for TLS is not built in yet: use a port without TLS, found \"1\"",
        );
        check(
            "kombu_reconnect_delay",
            "-1",
            "option \"kombu_reconnect_delay\" of the transport URL: expected seconds from 0 to 3600, found \"-1\"",
        );
        check(
            "rabbit_login_method",
            "RABBIT-CR-DEMO",
            "option \"rabbit_login_method\" of the transport URL: expected PLAIN, AMQPLAIN or EXTERNAL, found \"RABBIT-CR-DEMO\"",
        );
    }

    #[test]
    fn mirrored_and_quorum_do_not_go_together() {
        let both = read(&[("rabbit_ha_queues", "true"), ("rabbit_quorum_queue", "true")]);
        assert_eq!(
            both,
            Err("option \"rabbit_ha_queues\" of the transport URL: expected false where rabbit_quorum_queue is true, found \"true\"".to_owned())
        );
    }

    #[test]
    fn an_amqp_url_takes_the_options_of_both() {
        let expected = RabbitOptions {
            heartbeat_timeout_threshold: 10,
            rabbit_login_method: LoginMethod::External,
            connection_timeout: Duration::from_millis(2500),
            channel_max: 100,
            frame_max: 65_536,
            rabbit_quorum_queue: Some(true),
            dialect: Dialect::Amqp,
            ..RabbitOptions::default()
        };
        let found = of_url(
            "amqp://h?heartbeat=10&auth_mechanism=external&connection_timeout=2500&channel_max=100&frame_max=65536&verify=verify_none&rabbit_quorum_queue=true",
        );
        assert_eq!(found, Ok(expected));
        assert_eq!(of_url("amqp://h?frame_max=0").map(|o| o.frame_max), Ok(FRAME_MAX));
        assert_eq!(of_url("amqp://h?frame_max=9999999").map(|o| o.frame_max), Ok(FRAME_MAX));
        let refused = |url: &str| of_url(url).expect_err("it is refused");
        assert!(refused("amqp://h?channel_max=2").contains("16 to 65535, or 0"));
        assert!(refused("amqp://h?frame_max=512").contains("4096 or more"));
        assert!(refused("amqp://h?connection_timeout=0").contains("milliseconds from 1"));
        assert!(refused("amqp://h?hearbeat=1").contains("did you mean \"heartbeat\"?"));
        assert!(
            refused("rabbit://h?heartbeat=1")
                .contains("did you mean \"heartbeat_timeout_threshold\"?")
        );
    }

    #[test]
    fn what_is_missing_is_transient_with_rabbit_and_durable_with_amqp() {
        let durable = |url: &str| of_url(url).map(|options| options.durable());
        for (query, rabbit) in [
            ("", false),
            ("?amqp_durable_queues=false", false),
            ("?amqp_durable_queues=true", true),
            ("?rabbit_quorum_queue=true", true),
        ] {
            assert_eq!(durable(&format!("rabbit://h/{query}")), Ok(rabbit), "{query}");
        }
        assert_eq!(durable("amqp://h"), Ok(true));
        assert_eq!(durable("amqp://h?amqp_durable_queues=false"), Ok(false));
    }

    #[test]
    fn retired_names_are_read_as_their_successors_or_named_with_them() {
        let found = read(&[
            ("rabbit_durable_queues", "true"),
            ("heartbeat_in_pthread", "true"),
            ("rabbit_use_ssl", "false"),
            ("rabbit_max_retries", "0"),
            ("kombu_reconnect_timeout", "60"),
            ("kombu_ssl_ca_certs", "/x"),
            ("kombu_ssl_version", "TLSv1_2"),
        ]);
        let expected =
            RabbitOptions { amqp_durable_queues: Some(true), ..RabbitOptions::default() };
        assert_eq!(found, Ok(expected));
        assert_eq!(
            read(&[("rabbit_durable_queues", "maybe")]),
            Err("option \"rabbit_durable_queues\" of the transport URL: expected true or false (the option is called \"amqp_durable_queues\" now), found \"maybe\"".to_owned())
        );
        assert_eq!(
            read(&[("rabbit_use_ssl", "true")]),
            Err("option \"rabbit_use_ssl\" of the transport URL: expected false, for TLS is not built in yet: use a port without TLS (the option is called \"ssl\" now), found \"true\"".to_owned())
        );
        assert_eq!(
            read(&[("rabbit_userid", "nova")]),
            Err("option \"rabbit_userid\" of the transport URL is not used any more; write the user as in `rabbit://user:password@host:5672`".to_owned())
        );
        let current: Vec<_> = EFFECTIVE.iter().chain(WITHOUT_EFFECT).collect();
        for (old, retired) in RETIRED {
            assert!(!current.contains(&old), "{old} is not retired");
            if let Retired::Renamed(new) = retired {
                assert!(new.starts_with("ssl_") || current.contains(&new), "{new} is not known");
            }
        }
    }

    #[test]
    fn two_names_of_one_option_must_not_contradict_each_other() {
        let old = ("rabbit_durable_queues", "true");
        for both in
            [[old, ("amqp_durable_queues", "false")], [("amqp_durable_queues", "false"), old]]
        {
            assert_eq!(
                read(&both),
                Err("options \"amqp_durable_queues\" and \"rabbit_durable_queues\" of the transport URL are one option with two values; take \"rabbit_durable_queues\" out".to_owned())
            );
        }
        let agreed = read(&[old, ("amqp_durable_queues", "1")]);
        assert_eq!(agreed.map(|options| options.amqp_durable_queues), Ok(Some(true)));
    }
}
