//! Reads the query of a transport URL into `RabbitOptions`: current names, those of RabbitMQ's URI
//! specification and those of older releases. The options themselves are declared in `options.rs`. Called by
//! `Rabbit::new`.

use super::options::{Dialect, RabbitOptions, WITHOUT_EFFECT};
use crate::options::declare::{Declared, Group};
use crate::options::nearest::nearest;
use crate::options::value::{Kind, Raw, Switch};
use crate::redact::redacted;
use crate::transport::error::OpenError;
use crate::transport::url::TransportUrl;

/// The names that RabbitMQ's URI specification has for options, in `amqp://` URLs.
const OF_AMQP: &[(&str, &str)] = &[
    ("heartbeat", "heartbeat_timeout_threshold"),
    ("auth_mechanism", "rabbit_login_method"),
    ("cacertfile", "ssl_ca_file"),
    ("certfile", "ssl_cert_file"),
    ("keyfile", "ssl_key_file"),
];

/// Options with one accepted value, and why.
const ALWAYS: &[(&str, &str, &str)] = &[
    ("ssl_enforce_hostname_verification", "true", VERIFIED),
    ("verify", "verify_peer", VERIFIED),
    ("ssl_enforce_fips_mode", "false", "the cryptography of this build is not certified"),
];

const VERIFIED: &str = "the certificate and the host name are always verified; for another name set `server_name_indication`, for another CA `ssl_ca_file`";

/// An option of servers in RabbitMQ's URI specification.
const OF_SERVERS: &str = "fail_if_no_peer_cert";

/// What became of an option of an older oslo.messaging.
#[derive(Clone, Copy)]
pub(super) enum Retired {
    /// It has another name.
    Renamed(&'static str),
    /// It has no effect on notifications any more; why.
    Ignored(&'static str),
    /// It is not an option any more; what replaces it.
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
    /// An option is unknown or has an invalid value.
    pub fn from_url(url: &TransportUrl) -> Result<Self, OpenError> {
        let is_amqp = matches!(url.scheme(), "amqp" | "amqps");
        let dialect = if is_amqp { Dialect::Amqp } else { Dialect::Oslo };
        let mut options = Self { dialect, ssl: url.scheme() == "amqps", ..Self::default() };
        let (mut retired, mut renamed) = (Vec::new(), Vec::new());
        for (name, value) in url.query() {
            match RETIRED.iter().find(|(old, _)| old == name) {
                None => options.read(name, value)?,
                Some((_, Retired::Renamed(new))) => {
                    let named = |error| under_its_old_name(error, name, new);
                    options.read(new, value).map_err(named)?;
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
                "the transport URL has options of older oslo.messaging releases, which newer releases refuse"
            );
        }
        if url.scheme() == "amqps" && !options.ssl {
            let expected = "true in an amqps:// URL; write amqp:// for a connection without TLS";
            return Err(invalid("ssl", expected.to_owned(), "false"));
        }
        if !options.ssl && options.has_certificates() {
            tracing::warn!(
                "the transport URL names certificates, but the connection has no TLS: add `ssl=true`, or write amqps://"
            );
        }
        if options.ssl {
            for (name, value) in url.query() {
                options.always(name).map_or(Ok(()), |one| is_accepted(name, value, one))?;
            }
        }
        match options.contradiction() {
            Some((name, wrong)) => Err(invalid(name, wrong.expected, &wrong.found)),
            None => Ok(options),
        }
    }

    /// The options where one alone is given.
    fn of_one(dialect: Dialect, name: &str, value: &str) -> Result<Self, OpenError> {
        let mut options = Self { dialect, ..Self::default() };
        options.read(name, value)?;
        Ok(options)
    }

    /// Whether a `rabbit://` URL takes this option with this value.
    #[cfg(feature = "oslo-config")]
    pub(super) fn check(name: &str, value: &str) -> Result<(), OpenError> {
        Self::of_one(Dialect::Oslo, name, value).map(drop)
    }

    /// The options that a URL of this dialect may have.
    fn declared(&self) -> impl Iterator<Item = &'static Declared> {
        let is_amqp = self.dialect == Dialect::Amqp;
        Self::DECLARED.iter().filter(move |option| is_amqp || option.scope.is_none())
    }

    /// The known option that is nearest to a name.
    fn nearest(&self, name: &str) -> Option<String> {
        if self.dialect == Dialect::Oslo
            && let Some((_, ours)) = OF_AMQP.iter().find(|(theirs, _)| *theirs == name)
        {
            return Some((*ours).to_owned());
        }
        let of_amqp = OF_AMQP.iter().map(|(theirs, _)| *theirs);
        let of_amqp = of_amqp.filter(|_| self.dialect == Dialect::Amqp);
        let ours = self.declared().map(|option| option.key);
        let known = ours.chain(WITHOUT_EFFECT.iter().copied()).chain(of_amqp);
        nearest(name, known).map(str::to_owned)
    }

    /// The only accepted value of an option, and why.
    fn always(&self, name: &str) -> Option<(&'static str, &'static str)> {
        let is_known = self.dialect == Dialect::Amqp || name != "verify";
        let always = ALWAYS.iter().find(|(always, ..)| is_known && *always == name);
        always.map(|(_, accepted, why)| (*accepted, *why))
    }

    /// Whether a file for TLS is given.
    fn has_certificates(&self) -> bool {
        [&self.ssl_ca_file, &self.ssl_cert_file, &self.ssl_key_file]
            .into_iter()
            .any(|file| file.as_ref().is_some_and(|file| !file.as_os_str().is_empty()))
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), OpenError> {
        let is_amqp = self.dialect == Dialect::Amqp;
        let alias = OF_AMQP.iter().find(|(theirs, _)| is_amqp && *theirs == name);
        let key = alias.map_or(name, |(_, ours)| ours);
        if self.declared().any(|option| option.key == key) {
            let read = self.set(key, &Raw::Text(value.to_owned())).unwrap_or(Ok(()));
            return read.map_err(|wrong| invalid(name, wrong.expected, value));
        }
        if is_amqp && name == OF_SERVERS {
            tracing::debug!(option = name, "has no effect on a client");
        } else if self.always(name).is_some() {
            // `from_url` checks its value once it is known whether there is TLS.
        } else if WITHOUT_EFFECT.contains(&name) {
            tracing::debug!(option = name, "has no effect on notifications");
        } else {
            let near = self.nearest(name);
            return Err(OpenError::UnknownOption { option: redacted(name), near });
        }
        Ok(())
    }
}

/// The name that an option of a query has now.
pub(super) fn current(name: &str) -> &str {
    let of_amqp = OF_AMQP.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
    match RETIRED.iter().find(|(old, _)| *old == name) {
        Some((_, Retired::Renamed(new))) => new,
        _ => of_amqp.unwrap_or(name),
    }
}

/// What became of an option of an older oslo.messaging.
#[cfg(feature = "oslo-config")]
pub(super) fn retired(name: &str) -> Option<Retired> {
    RETIRED.iter().find(|(old, _)| *old == name).map(|(_, retired)| *retired)
}

fn invalid(option: &str, expected: String, found: &str) -> OpenError {
    OpenError::InvalidOption { option: option.to_owned(), expected, found: redacted(found) }
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

fn is_accepted(option: &str, value: &str, (accepted, why): (&str, &str)) -> Result<(), OpenError> {
    let switch = |text: &str| Switch.read(&Raw::Text(text.to_owned()));
    if value == accepted || (switch(value).is_some() && switch(value) == switch(accepted)) {
        return Ok(());
    }
    Err(invalid(option, format!("`{accepted}`: {why}"), value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::options::{FRAME_MAX, FailoverStrategy, LoginMethod, rabbit_table};
    use super::*;
    use crate::options::declare::set_to_documented_defaults;

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
            ssl_ca_file: Some("/ca.pem".into()),
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
    fn each_declared_option_is_accepted_and_documented() {
        assert_eq!(rabbit_table!().lines().count(), RabbitOptions::DECLARED.len());
        for option in RabbitOptions::DECLARED {
            let query = format!("{}={}", option.key, (option.example)());
            let amqp = of_url(&format!("amqp://h?{query}"));
            let default = RabbitOptions { dialect: Dialect::Amqp, ..RabbitOptions::default() };
            assert!(amqp.is_ok_and(|read| read != default), "{query}");
            let rabbit = of_url(&format!("rabbit://h/?{query}"));
            assert_eq!(rabbit.is_ok(), option.scope.is_none(), "{query}");
            assert!(rabbit_table!().contains(&format!("| `{}`", option.key)), "{query}");
        }
        let mut documented = RabbitOptions::default();
        set_to_documented_defaults(&mut documented);
        assert_eq!(documented, RabbitOptions::default());
        for name in WITHOUT_EFFECT {
            assert_eq!(read(&[(name, "x")]), Ok(RabbitOptions::default()));
        }
    }

    #[test]
    fn a_duration_is_written_as_everywhere_or_as_kombu_writes_it() {
        let delay = |value| {
            let read = read(&[("kombu_reconnect_delay", value)]);
            read.map(|options| options.kombu_reconnect_delay).ok()
        };
        assert_eq!(delay("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(delay("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(delay("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(delay("1.5s"), None);
        let timeout = |value| of_url(&format!("amqp://h?connection_timeout={value}"));
        assert_eq!(timeout("2500"), timeout("2s500ms"));
        let heartbeat = |value| read(&[("heartbeat_timeout_threshold", value)]);
        assert_eq!(heartbeat("90"), heartbeat("1m30s"));
        assert!(heartbeat("500ms").is_err());
    }

    #[test]
    fn a_negative_delivery_limit_is_none() {
        let limit = |value| {
            let read = read(&[("rabbit_quorum_delivery_limit", value)]);
            read.map(|options| options.rabbit_quorum_delivery_limit)
        };
        assert_eq!(limit("-1"), Ok(-1));
        let error = limit("many").expect_err("no number");
        assert!(error.contains("expected a whole number, or 0 for the broker's default, or below 0 for no limit, found"), "{error}");
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
            "option \"amqp_durable_queues\" of the transport URL: expected `true` or `false`, found \"maybe\"",
        );
        check(
            "rabbit_qos_prefetch_count",
            "0",
            "option \"rabbit_qos_prefetch_count\" of the transport URL: expected a number from 1 to 65535 (0 would be unlimited, and a whole queue would be read into memory), found \"0\"",
        );
        if cfg!(not(feature = "tls")) {
            check(
                "ssl",
                "1",
                "option \"ssl\" of the transport URL: expected false, because this build has no TLS: enable the feature `tls` of the crate `listener`, found \"true\"",
            );
        }
        check(
            "kombu_reconnect_delay",
            "-1",
            "option \"kombu_reconnect_delay\" of the transport URL: expected a duration from 0s to 1h such as `30s`, `1m30s` or `500ms`, or seconds, found \"-1\"",
        );
        check(
            "rabbit_login_method",
            "RABBIT-CR-DEMO",
            "option \"rabbit_login_method\" of the transport URL: expected `PLAIN`, `AMQPLAIN` or `EXTERNAL`, found \"RABBIT-CR-DEMO\"",
        );
    }

    #[test]
    fn verification_cannot_be_disabled() {
        let check = |url: &str, option: &str, found: &str| {
            let error = of_url(url).expect_err(url);
            let expected = format!("option \"{option}\" of the transport URL: expected");
            assert!(error.starts_with(&expected), "{error}");
            assert!(error.contains(found), "{error}");
        };
        let weak = "ssl_enforce_hostname_verification=false";
        check(
            &format!("rabbit://h/?ssl=true&{weak}"),
            "ssl_enforce_hostname_verification",
            "false",
        );
        check("amqps://h?verify=verify_none", "verify", "always verified");
        for plain in [format!("rabbit://h/?{weak}"), "amqp://h?verify=verify_none".to_owned()] {
            assert!(of_url(&plain).is_ok(), "{plain}");
        }
        check("amqps://h?ssl=false", "ssl", "amqps:// URL");
        check("amqps://h?rabbit_use_ssl=0", "ssl", "amqps:// URL");
        check("amqps://h?ssl_enforce_fips_mode=true", "ssl_enforce_fips_mode", "not certified");
        let verified = "amqps://h?verify=verify_peer&ssl_enforce_hostname_verification=True";
        assert_eq!(of_url(verified).is_ok(), cfg!(feature = "tls"));
        assert!(of_url("rabbit://h/?verify=verify_peer").is_err());
    }

    #[test]
    fn the_names_of_certificates_in_both_forms_of_urls_are_the_same() {
        let rabbit = "ssl_ca_file=/a&ssl_cert_file=/b&ssl_key_file=/c&ssl_version=TLSv1_3";
        let amqp = "cacertfile=/a&certfile=/b&keyfile=/c&ssl_version=tlsv1_3";
        let dialect = Dialect::Amqp;
        let expected = of_url(&format!("rabbit://h/?{rabbit}")).expect("options");
        assert_eq!(of_url(&format!("amqp://h?{amqp}")), Ok(RabbitOptions { dialect, ..expected }));
        assert!(of_url("rabbit://h/?ssl_version=tlsv1_1").is_err());
        assert!(of_url("rabbit://h/?ssl_version=").is_ok());
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
        for large in ["0", "9999999"] {
            let read = of_url(&format!("amqp://h?frame_max={large}"));
            assert_eq!(read.map(|options| options.largest_frame()), Ok(FRAME_MAX));
        }
        let refused = |url: &str| of_url(url).expect_err("it is refused");
        assert!(
            refused("amqp://h?channel_max=2")
                .contains("a number from 16 to 65535, or 0 for the broker's limit")
        );
        assert!(
            refused("amqp://h?frame_max=512")
                .contains("a number from 4096 to 4294967295, or 0 for 131072")
        );
        assert!(
            refused("amqp://h?connection_timeout=0").contains("a duration from 1ms to 1h such as")
        );
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
        let expected = RabbitOptions {
            amqp_durable_queues: Some(true),
            ssl_ca_file: Some("/x".into()),
            ..RabbitOptions::default()
        };
        assert_eq!(found, Ok(expected));
        assert_eq!(
            read(&[("rabbit_durable_queues", "maybe")]),
            Err("option \"rabbit_durable_queues\" of the transport URL: expected `true` or `false` (the option is called \"amqp_durable_queues\" now), found \"maybe\"".to_owned())
        );
        assert_eq!(
            read(&[("rabbit_use_ssl", "maybe")]),
            Err("option \"rabbit_use_ssl\" of the transport URL: expected `true` or `false` (the option is called \"ssl\" now), found \"maybe\"".to_owned())
        );
        assert_eq!(
            read(&[("rabbit_userid", "nova")]),
            Err("option \"rabbit_userid\" of the transport URL is no longer used; write the user as in `rabbit://user:password@host:5672`".to_owned())
        );
        let declared = RabbitOptions::DECLARED.iter().map(|option| option.key);
        let current: Vec<_> = declared.chain(WITHOUT_EFFECT.iter().copied()).collect();
        for (old, retired) in RETIRED {
            assert!(!current.contains(old), "{old} is not retired");
            if let Retired::Renamed(new) = retired {
                assert!(current.contains(new), "{new} is not known");
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
                Err("options \"amqp_durable_queues\" and \"rabbit_durable_queues\" of the transport URL are the same option with two values; remove \"rabbit_durable_queues\"".to_owned())
            );
        }
        let agreed = read(&[old, ("amqp_durable_queues", "1")]);
        assert_eq!(agreed.map(|options| options.amqp_durable_queues), Ok(Some(true)));
    }
}
