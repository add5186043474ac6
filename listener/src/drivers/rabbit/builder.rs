//! Makes a driver without a URL: `Rabbit::builder()`. The options and their setters are declared in
//! `options.rs`; `Rabbit::new` makes one from the equivalent URL.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Rabbit;
use super::options::{
    Dialect, FailoverStrategy, LoginMethod, RabbitOptions, TlsVersion, rabbit_setters,
};
use crate::options::declare::Group;
use crate::options::value::Wrong;
use crate::redact::redacted;
use crate::transport::Transport;
use crate::transport::error::OpenError;
use crate::transport::url::{Host, TransportUrl};

/// Describes a connection to RabbitMQ without a URL, so that nothing has to be percent-encoded.
///
/// ```
/// use std::time::Duration;
///
/// use listener::driver::Rabbit;
///
/// let password = "p@ss/word";
/// let transport = Rabbit::builder()
///     .host("rabbit-1.example.org")
///     .host_and_port("rabbit-2.example.org", 5673)
///     .user("nova")
///     .password(password)
///     .virtual_host("production")
///     .rabbit_quorum_queue(true)
///     .connection_timeout(Duration::from_secs(5))
///     .open()?;
/// assert_eq!(
///     transport.to_string(),
///     "amqp://nova:***@rabbit-1.example.org,nova:***@rabbit-2.example.org:5673/production"
/// );
/// # Ok::<(), listener::Error>(())
/// ```
///
/// Missing queues and exchanges are declared durable, as with an `amqp://` URL, unless
/// [`like_oslo_messaging`](Self::like_oslo_messaging) is called.
#[derive(Clone)]
#[must_use = "a builder does nothing until `open` is called"]
pub struct RabbitBuilder {
    hosts: Vec<(String, Option<u16>)>,
    user: Option<String>,
    password: Option<String>,
    virtual_host: Option<String>,
    options: RabbitOptions,
}

impl RabbitBuilder {
    pub(super) fn new() -> Self {
        Self {
            hosts: Vec::new(),
            user: None,
            password: None,
            virtual_host: None,
            options: RabbitOptions::default(),
        }
        .dialect(Dialect::Amqp)
    }

    /// Adds a host, by name or address, with port 5672. Default: this machine.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push((host.into(), None));
        self
    }

    /// Adds a host, by name or address, with this port.
    pub fn host_and_port(mut self, host: impl Into<String>, port: u16) -> Self {
        self.hosts.push((host.into(), Some(port)));
        self
    }

    /// The user of all hosts. Default: `guest`, with its password.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The password of the user. It is never shown. Default: an empty one.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The virtual host, not percent-encoded. Default: `/`.
    pub fn virtual_host(mut self, virtual_host: impl Into<String>) -> Self {
        self.virtual_host = Some(virtual_host.into());
        self
    }

    /// Declares missing queues and exchanges as programs that use oslo.messaging do, like a `rabbit://` URL;
    /// see [`RabbitOptions`].
    pub fn like_oslo_messaging(self) -> Self {
        self.dialect(Dialect::Oslo)
    }

    /// Replaces all options.
    pub fn options(mut self, options: RabbitOptions) -> Self {
        let dialect = self.options.dialect;
        self.options = options;
        self.dialect(dialect)
    }

    rabbit_setters!();

    /// The transport. No I/O: connections are made when a listener starts or a notifier sends.
    ///
    /// # Errors
    /// An option has an invalid value, options contradict each other, a host has an invalid name or port, or
    /// there is a password without a user. The first of these is reported.
    pub fn open(self) -> Result<Transport, OpenError> {
        let (driver, url) = self.driver()?;
        Ok(Transport::new(driver, url.to_string()))
    }

    /// The driver, and the equivalent URL of its hosts and virtual host.
    fn driver(self) -> Result<(Rabbit, TransportUrl), OpenError> {
        if let Some((setter, wrong)) = self.wrong() {
            let Wrong { expected, found } = wrong;
            return Err(OpenError::InvalidSetting { setter, expected, found });
        }
        let Self { mut hosts, user, password, virtual_host, options } = self;
        if hosts.is_empty() {
            hosts.push((THIS_MACHINE.to_owned(), None));
        }
        let host = |(name, port)| Host::new(name, port, user.clone(), password.clone());
        let hosts = hosts.into_iter().map(host).collect();
        let scheme = match options.dialect {
            Dialect::Amqp => "amqp",
            Dialect::Oslo => "rabbit",
        };
        let url = TransportUrl::new(scheme, hosts, virtual_host);
        Ok((Rabbit::with(&url, options), url))
    }

    /// The setter whose value is not accepted, and what it accepts.
    fn wrong(&self) -> Option<(&'static str, Wrong)> {
        let wrong = |setter, expected: &str, found: &str| {
            Some((setter, Wrong { expected: expected.to_owned(), found: found.to_owned() }))
        };
        for (name, port) in &self.hosts {
            // A name has no colon: it would be a port, or a user with a password.
            let is_single_host = !name.contains(':') || is_ipv6(name);
            if !Host::can_have(name) || !is_single_host {
                let expected = "the name or address of one host, without port, and an IPv6 address \
                                without brackets";
                return wrong("host", expected, &format!("{:?}", redacted(name)));
            }
            if *port == Some(0) {
                return wrong("host_and_port", "a port from 1 to 65535", "0");
            }
        }
        let is_oslo = self.options.dialect == Dialect::Oslo;
        if is_oslo && self.virtual_host.as_deref() == Some("") {
            return wrong(
                "virtual_host",
                "a non-empty name: a rabbit:// URL cannot express an empty one",
                "\"\"",
            );
        }
        let has_password = self.password.as_deref().is_some_and(|password| !password.is_empty());
        if has_password && self.user.is_none() {
            return wrong("password", "a `user` that it belongs to", "no user");
        }
        self.options.wrong().into_iter().next().or_else(|| self.options.contradiction())
    }
}

/// Whether this is an IPv6 address, which may have a zone.
fn is_ipv6(name: &str) -> bool {
    let address = name.split_once('%').map_or(name, |(address, _)| address);
    address.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Where a broker is if no host is given.
const THIS_MACHINE: &str = "127.0.0.1";

/// Hides the password.
impl fmt::Debug for RabbitBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // They are not checked yet: one may be a URL with a password.
        let hosts: Vec<_> = self.hosts.iter().map(|(name, port)| (redacted(name), port)).collect();
        f.debug_struct("RabbitBuilder")
            .field("hosts", &hosts)
            .field("user", &self.user)
            .field("virtual_host", &self.virtual_host)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a driver is made of, in an order that is the same for all processes.
    fn core(rabbit: &Rabbit) -> impl PartialEq + fmt::Debug + use<> {
        let core = &rabbit.core;
        let addresses = core.addresses.iter();
        let mut addresses: Vec<_> = addresses
            .map(|address| (address.to_string(), address.user.clone(), address.password.clone()))
            .collect();
        addresses.sort();
        (addresses, core.vhost.clone(), core.options.clone())
    }

    #[track_caller]
    fn check(builder: RabbitBuilder, url: &str) {
        let built = builder.driver().expect("a driver").0;
        let opened = Rabbit::new(&url.parse().expect("a URL")).expect("a driver");
        assert_eq!(core(&built), core(&opened), "{url}");
    }

    #[test]
    fn a_builder_and_a_url_make_the_same_driver() {
        check(Rabbit::builder(), "amqp://");
        check(Rabbit::builder().like_oslo_messaging(), "rabbit://");
        check(
            Rabbit::builder()
                .host("h1")
                .host_and_port("::1", 5673)
                .user("u@x")
                .password("p/s:%")
                .virtual_host("a/b"),
            "amqp://u%40x:p%2Fs:%25@h1,u%40x:p%2Fs:%25@[::1]:5673/a%2Fb",
        );
        check(Rabbit::builder().user("u").virtual_host(""), "amqp://u@127.0.0.1/");
        check(Rabbit::builder().password(""), "amqp://");
        check(
            Rabbit::builder()
                .host("h")
                .amqp_durable_queues(false)
                .rabbit_qos_prefetch_count(50)
                .heartbeat_timeout_threshold(90)
                .rabbit_login_method(LoginMethod::External)
                .kombu_failover_strategy(FailoverStrategy::Shuffle)
                .kombu_reconnect_delay(Duration::from_millis(1500))
                .connection_timeout(Duration::from_secs(5))
                .channel_max(100),
            "amqp://h?amqp_durable_queues=false&rabbit_qos_prefetch_count=50&heartbeat=1m30s\
             &auth_mechanism=external&kombu_failover_strategy=shuffle&kombu_reconnect_delay=1.5\
             &connection_timeout=5s&channel_max=100",
        );
    }

    #[test]
    fn what_is_not_accepted_names_the_setter_and_the_fix() {
        let check = |builder: RabbitBuilder, expected: &str| {
            let error = builder.open().expect_err("it is refused");
            assert_eq!(error.to_string(), expected);
        };
        check(
            Rabbit::builder().rabbit_qos_prefetch_count(0),
            "`rabbit_qos_prefetch_count` of the RabbitMQ transport: expected a number from 1 to 65535 (0 would be unlimited, and a whole queue would be read into memory), found 0",
        );
        check(
            Rabbit::builder().rabbit_ha_queues(true).rabbit_quorum_queue(true),
            "`rabbit_ha_queues` of the RabbitMQ transport: expected false where rabbit_quorum_queue is true, found true",
        );
        check(
            Rabbit::builder().connection_timeout(Duration::ZERO),
            "`connection_timeout` of the RabbitMQ transport: expected a duration from 1ms to 1h, found 0ns",
        );
        check(
            Rabbit::builder().password("secret"),
            "`password` of the RabbitMQ transport: expected a `user` that it belongs to, found no user",
        );
        check(
            Rabbit::builder().host_and_port("h", 0),
            "`host_and_port` of the RabbitMQ transport: expected a port from 1 to 65535, found 0",
        );
        check(
            Rabbit::builder().like_oslo_messaging().virtual_host(""),
            "`virtual_host` of the RabbitMQ transport: expected a non-empty name: a rabbit:// URL cannot express an empty one, found \"\"",
        );
        for name in ["", "[::1]", "h/v", "u:p@h", "h1,h2", "h:5672", "user:secret"] {
            let error = Rabbit::builder().host(name).open().expect_err(name).to_string();
            assert!(error.contains("expected the name or address of one host"), "{error}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let mistaken = Rabbit::builder().host("amqp://u:hunter2@h");
        assert!(!format!("{mistaken:?}").contains("hunter2"), "{mistaken:?}");
        let builder = Rabbit::builder().user("u").password("hunter2");
        let transport = builder.clone().open().expect("a transport");
        for shown in [format!("{builder:?}"), format!("{transport:?}"), transport.to_string()] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
