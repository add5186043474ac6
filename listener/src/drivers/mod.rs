//! The drivers, and which URL chooses which. Only this file names them all; each keeps the
//! contract of `transport/driver.rs` and knows nothing of the others.

pub mod memory;
#[cfg(feature = "rabbit")]
pub mod rabbit;

use crate::shown::shown;
use crate::transport::Transport;
use crate::transport::error::OpenError;
use crate::transport::url::TransportUrl;

/// The schemes of this build.
#[cfg(feature = "rabbit")]
const KNOWN: &str = "rabbit (or kombu), amqp, memory (or fake)";
/// The schemes of this build.
#[cfg(not(feature = "rabbit"))]
const KNOWN: &str = "memory (or fake); `rabbit` and `amqp` need the feature `rabbit`";

impl Transport {
    /// Opens the transport that a URL names. No I/O yet: connections are made when a
    /// listener starts or a notifier sends.
    ///
    /// - `amqp://user:password@host:5672/virtual_host?heartbeat=10`, as RabbitMQ's own clients
    ///   write it: RabbitMQ. Queues and exchanges that are missing are declared durable.
    /// - `rabbit://user:password@host:5672,user:password@host2/virtual_host?option=value`,
    ///   as oslo.messaging writes it: RabbitMQ, shared with programs that use oslo.messaging.
    ///   What is missing is declared as they would: see
    ///   [`RabbitOptions`](crate::drivers::rabbit::RabbitOptions).
    /// - `memory://NAME`: a bus of this process; `memory://` is the one without a name.
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
    /// The URL cannot be read, no driver has its name, it asks for TLS (`amqps://`), or an option
    /// is unknown or wrong.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        let url: TransportUrl = url.parse()?;
        match url.driver().to_ascii_lowercase().as_str() {
            "memory" | "fake" => {
                memory::Memory::open(&url).map(|(driver, name)| Self::new(driver, name))
            }
            #[cfg(feature = "rabbit")]
            "rabbit" | "kombu" | "amqp" => {
                Ok(Self::new(rabbit::Rabbit::new(&url)?, url.to_string()))
            }
            tls @ ("amqps" | "rabbits") => Err(OpenError::NoTls { found: tls.to_owned() }),
            other => Err(OpenError::UnknownDriver { found: shown(other), known: KNOWN }),
        }
    }
}
