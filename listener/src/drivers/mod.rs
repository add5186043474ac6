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
const KNOWN: &str = "rabbit (or kombu), memory (or fake)";
/// The schemes of this build.
#[cfg(not(feature = "rabbit"))]
const KNOWN: &str = "memory (or fake); `rabbit` needs the feature of that name";

impl Transport {
    /// Opens the transport that a URL names. No I/O yet: connections are made when a
    /// listener starts or a notifier sends.
    ///
    /// - `rabbit://user:password@host:5672,user:password@host2/virtual_host?option=value`,
    ///   as oslo.messaging writes it: RabbitMQ.
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
    /// The URL cannot be read, no driver has its name, or an option is unknown or wrong.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        let url: TransportUrl = url.parse()?;
        match url.driver() {
            "memory" | "fake" => {
                memory::Memory::open(&url).map(|(driver, name)| Self::new(driver, name))
            }
            #[cfg(feature = "rabbit")]
            "rabbit" | "kombu" => Ok(Self::new(rabbit::Rabbit::new(&url)?, url.to_string())),
            other => Err(OpenError::UnknownDriver { found: shown(other), known: KNOWN }),
        }
    }
}
