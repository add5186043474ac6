//! Reads the query of a transport URL into `RabbitOptions`: each name, each value, and what is
//! wrong with them. What the options mean is `options.rs`. Called by `Rabbit::new`.

use std::str::FromStr;
use std::time::Duration;

use super::options::{FailoverStrategy, LoginMethod, RabbitOptions};
use crate::nearest::nearest;
use crate::shown::shown;
use crate::transport::error::OpenError;

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

impl RabbitOptions {
    /// Reads the query of a transport URL.
    ///
    /// # Errors
    /// An option is unknown, or has a value that it cannot have.
    pub fn from_query(query: &[(String, String)]) -> Result<Self, OpenError> {
        let mut options = Self::default();
        for (name, value) in query {
            options.set(name, value)?;
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

    fn set(&mut self, name: &str, value: &str) -> Result<(), OpenError> {
        match name {
            "amqp_durable_queues" => self.amqp_durable_queues = Some(truth(name, value)?),
            "amqp_auto_delete" => self.amqp_auto_delete = Some(truth(name, value)?),
            "rabbit_quorum_queue" => self.rabbit_quorum_queue = Some(truth(name, value)?),
            "allow_low_delivery_limit" => self.allow_low_delivery_limit = truth(name, value)?,
            "rabbit_quorum_delivery_limit" => {
                self.rabbit_quorum_delivery_limit = number(name, value)?;
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
                let known = EFFECTIVE.iter().chain(WITHOUT_EFFECT).copied();
                return Err(OpenError::UnknownOption {
                    option: shown(name),
                    near: nearest(name, known).map(str::to_owned),
                });
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
        let query: Vec<_> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        RabbitOptions::from_query(&query).map_err(|error| error.to_string())
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
}
