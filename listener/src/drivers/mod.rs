//! The drivers, and which URL selects which. Only this file names all of them; each implements
//! `transport/driver.rs` and does not know the others.

pub(crate) mod memory;
#[cfg(feature = "rabbit")]
pub(crate) mod rabbit;

#[cfg(feature = "testing")]
pub use self::memory::model::{Conditions, DeliveryLimit, FaultCounts, Model, Process};
#[cfg(feature = "rabbit")]
pub use self::rabbit::{
    FailoverStrategy, LoginMethod, Rabbit, RabbitBuilder, RabbitOptions, TlsVersion, filter_all,
    headers_from_table, table_from_headers,
};

use std::collections::BTreeMap;

use self::memory::Memory;
use crate::redact::redacted;
use crate::transport::Transport;
use crate::transport::error::OpenError;
use crate::transport::url::TransportUrl;

/// The schemes of this build.
#[cfg(feature = "rabbit")]
const KNOWN: &str = "rabbit (or kombu), amqp, amqps, memory (or fake)";
/// The schemes of this build.
#[cfg(not(feature = "rabbit"))]
const KNOWN: &str = "memory (or fake); `rabbit` and `amqp` need the feature `rabbit`";

impl Transport {
    /// Opens the transport of a URL. This does no I/O: it connects when a listener starts or a notifier
    /// sends.
    ///
    /// - `amqp://user:password@host:5672/virtual_host?heartbeat=10`, the form of RabbitMQ's own clients:
    ///   RabbitMQ. Missing queues and exchanges are declared durable. `amqps://` is the same with TLS (feature
    ///   `tls`), and has the default port 5671.
    /// - `rabbit://user:password@host:5672,user:password@host2/virtual_host?option=value`,
    ///   the form of oslo.messaging: RabbitMQ, shared with programs that use oslo.messaging. Missing queues
    ///   and exchanges are declared as they declare them: see
    ///   [`RabbitOptions`](crate::drivers::rabbit::RabbitOptions).
    /// - `memory://NAME`: a bus of this process; `memory://` is a bus as well.
    ///
    /// ```
    /// use listener::Transport;
    ///
    /// let transport = Transport::open("memory://")?;
    /// assert_eq!(transport.to_string(), "memory://");
    /// # Ok::<(), listener::Error>(())
    /// ```
    ///
    /// # Errors
    /// The URL is invalid, no driver has its scheme, it asks for TLS and this build has none, or an option is
    /// unknown or invalid.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        let url: TransportUrl = url.parse()?;
        // A suffix is part of the name and must not be ignored: it may be `+ssl`.
        match url.scheme() {
            "memory" | "fake" | "kombu+memory" => {
                Memory::open(&url).map(|(driver, name)| Self::new(driver, name))
            }
            #[cfg(feature = "rabbit")]
            "rabbit" | "kombu" | "kombu+amqp" | "kombu+pyamqp" | "amqp" | "amqps" => {
                Ok(Self::new(Rabbit::new(&url)?, url.to_string()))
            }
            tls if asks_for_tls(tls) => Err(OpenError::NoTls { found: redacted(tls) }),
            other => Err(OpenError::UnknownDriver { found: redacted(other), known: KNOWN }),
        }
    }
}

/// The section `[oslo_messaging_rabbit]` of oslo.config's files.
#[cfg(feature = "oslo-config")]
impl Transport {
    /// The name that a transport URL has for this option of the section; none if it has no effect.
    #[cfg(feature = "rabbit")]
    pub(crate) fn option_of_section(name: &str, value: &str) -> Result<Option<String>, OpenError> {
        rabbit::option_of_section(name, value)
    }

    #[cfg(not(feature = "rabbit"))]
    pub(crate) fn option_of_section(_: &str, _: &str) -> Result<Option<String>, OpenError> {
        Ok(None)
    }
}

impl Transport {
    /// Adds the options of the section to the query of a URL for RabbitMQ, except those that the query has.
    #[cfg(feature = "rabbit")]
    pub(crate) fn add_section(url: &mut String, section: &BTreeMap<String, String>) {
        rabbit::add_section(url, section);
    }

    #[cfg(not(feature = "rabbit"))]
    pub(crate) fn add_section(_: &mut String, _: &BTreeMap<String, String>) {}
}

fn asks_for_tls(scheme: &str) -> bool {
    scheme.split('+').any(|part| matches!(part, "amqps" | "rabbits" | "pyamqps" | "ssl" | "tls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(scheme: &str) -> String {
        let url = format!("{scheme}://guest:guest@127.0.0.1:1/");
        Transport::open(&url).expect_err(scheme).to_string()
    }

    #[test]
    fn a_url_that_asks_for_tls_is_never_opened_without_it() {
        for amqps in ["amqps", "AMQPS"] {
            let opened = Transport::open(&format!("{amqps}://h"));
            let error = opened.map(drop).map_err(|error| error.to_string());
            let is_refused = error.is_err_and(|error| error.contains("enable the feature `tls`"));
            assert_eq!(is_refused, !cfg!(feature = "tls"), "{amqps}");
        }
        for tls in ["rabbits", "ssl"] {
            assert!(refusal(tls).contains("asks for TLS"), "{tls}");
            for driver in ["rabbit", "amqp", "kombu", "memory", "rabbit+x"] {
                let text = refusal(&format!("{driver}+{tls}"));
                assert!(text.contains("asks for TLS"), "{text}");
            }
        }
    }

    #[test]
    fn no_suffix_is_ignored() {
        for scheme in ["rabbit+", "rabbit+x", "memory+x", "kombu+redis", "amqp+x", "amqp+amqp"] {
            assert!(refusal(scheme).contains(KNOWN), "{scheme}");
        }
        assert!(Transport::open("kombu+memory://suffix").is_ok());
    }

    #[cfg(feature = "rabbit")]
    #[tokio::test]
    async fn the_transports_of_kombu_for_rabbitmq_are_rabbitmq() {
        for scheme in ["kombu+amqp", "kombu+pyamqp", "Kombu"] {
            assert!(Transport::open(&format!("{scheme}://127.0.0.1:1/")).is_ok(), "{scheme}");
        }
    }
}
