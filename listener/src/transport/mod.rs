//! The `Transport` that a program uses, and the contract of drivers. The drivers themselves, and the URL
//! schemes that select one, are in `drivers`.

pub(crate) mod delivery;
pub(crate) mod demand;
pub(crate) mod driver;
pub(crate) mod error;
pub(crate) mod executor;
pub(crate) mod url;

use std::fmt;
use std::sync::Arc;

use crate::transport::driver::{
    Capabilities, Driver, JournalAppend, JournalRead, MAX_TIMEOUT, Outgoing, Subscribed,
    Subscription,
};
use crate::transport::error::{ConnectError, JournalError, SendError};

/// A handle to a broker or an in-memory bus: cheap to clone, shared by listeners and notifiers.
///
/// [`open`](Self::open) chooses the driver by a URL. Opening does no I/O: a listener connects when it
/// starts, a notifier when it first sends, and both reconnect. Programs pass it to a builder; the other
/// methods are for tests and tools, which send and take raw messages:
///
/// ```
/// use std::time::Duration;
///
/// use listener::Transport;
/// use listener::driver::{Binding, Outgoing, Route, Settle, Subscription};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = Transport::open("memory://doc-transport")?;
/// let timeout = Duration::from_secs(30);
/// let dead_letters = vec![Binding::unbound("notifications.info.dead")];
/// let mut subscribed = transport.subscribe(Subscription::new(dead_letters, 10, timeout)).await?;
///
/// let route = Route::Queue("notifications.info.dead".to_owned());
/// transport.send(Outgoing::new(route, "{}", timeout)).await?;
/// let delivery = subscribed.deliveries.recv().await.ok_or("the subscription ended")?;
/// assert_eq!(delivery.body, "{}");
/// delivery.settle(Settle::Ack)?;
/// subscribed.consumer.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Transport {
    driver: Arc<dyn Driver>,
    name: Arc<str>,
}

impl Transport {
    /// A transport with a driver of the program's own. Logs and errors show `name`: it must not contain
    /// secrets.
    pub fn new(driver: impl Driver, name: impl Into<Arc<str>>) -> Self {
        Self { driver: Arc::new(driver), name: name.into() }
    }

    /// Starts to consume. See [`Driver::subscribe`].
    ///
    /// # Errors
    /// As [`Driver::subscribe`]; [`ConnectError::Runtime`] outside of a tokio runtime with I/O and
    /// timers.
    pub async fn subscribe(
        &self,
        mut subscription: Subscription,
    ) -> Result<Subscribed, ConnectError> {
        executor::check()?;
        subscription.timeout = subscription.timeout.min(MAX_TIMEOUT);
        self.driver.subscribe(subscription).await
    }

    /// Sends one message. See [`Driver::send`].
    ///
    /// # Errors
    /// As [`Driver::send`]; [`SendError::Invalid`] for a queue whose name is empty or longer than 255
    /// bytes.
    pub async fn send(&self, mut outgoing: Outgoing) -> Result<(), SendError> {
        outgoing.timeout = outgoing.timeout.min(MAX_TIMEOUT);
        if let Some(reason) = outgoing.route.mistake() {
            return Err(SendError::Invalid { route: outgoing.route.to_string(), reason });
        }
        self.driver.send(outgoing).await
    }

    /// Appends to a journal, and reads it. See [`Driver::journal`].
    ///
    /// # Errors
    /// As [`Driver::journal`].
    pub async fn journal(&self, mut append: JournalAppend) -> Result<JournalRead, JournalError> {
        append.timeout = append.timeout.min(MAX_TIMEOUT);
        self.driver.journal(append).await
    }

    /// What the driver can do. See [`Driver::capabilities`].
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    /// Why messages cannot be sent at present. See [`Driver::blocked`].
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        self.driver.blocked()
    }

    /// Closes the connections for sending and for journals after the calls in flight have ended.
    /// Listeners close their consumers themselves.
    pub async fn close(&self) {
        self.driver.close().await;
    }
}

/// The URL without passwords.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({})", self.name)
    }
}
