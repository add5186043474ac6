//! What carries notifications: the `Transport` that a program holds, and the contract that
//! every driver keeps. The drivers themselves, and the URL schemes that choose one, are in
//! `drivers`.

pub(crate) mod delivery;
pub(crate) mod demand;
pub(crate) mod driver;
pub(crate) mod error;
pub(crate) mod executor;
pub(crate) mod url;

use std::fmt;
use std::sync::Arc;

use crate::transport::driver::{
    Driver, JournalAppend, JournalRead, LONGEST_WAIT, Outgoing, Subscribed, Subscription,
};
use crate::transport::error::{ConnectError, JournalError, SendError};

/// A way to the notifications: cheap to clone, shared by listeners and notifiers.
///
/// Opening one does no I/O; connections are made when a listener starts or a notifier
/// sends, and one that is lost is made again.
#[derive(Clone)]
pub struct Transport {
    driver: Arc<dyn Driver>,
    name: Arc<str>,
}

impl Transport {
    /// A transport over a driver of the program's own. `name` stands for it in logs and
    /// errors: leave secrets out.
    pub fn new(driver: impl Driver, name: impl Into<Arc<str>>) -> Self {
        Self { driver: Arc::new(driver), name: name.into() }
    }

    /// Starts to consume.
    ///
    /// # Errors
    /// As [`Driver::subscribe`].
    pub async fn subscribe(
        &self,
        mut subscription: Subscription,
    ) -> Result<Subscribed, ConnectError> {
        executor::check()?;
        subscription.timeout = subscription.timeout.min(LONGEST_WAIT);
        self.driver.subscribe(subscription).await
    }

    /// Sends one message.
    ///
    /// # Errors
    /// As [`Driver::send`]; [`SendError::Invalid`] for a queue whose name is empty, or longer than 255
    /// bytes.
    pub async fn send(&self, mut outgoing: Outgoing) -> Result<(), SendError> {
        outgoing.timeout = outgoing.timeout.min(LONGEST_WAIT);
        if let Some(reason) = outgoing.route.mistake() {
            return Err(SendError::Invalid { route: outgoing.route.to_string(), reason });
        }
        self.driver.send(outgoing).await
    }

    /// Appends to a journal, and reads it.
    ///
    /// # Errors
    /// As [`Driver::journal`].
    pub async fn journal(&self, mut append: JournalAppend) -> Result<JournalRead, JournalError> {
        append.timeout = append.timeout.min(LONGEST_WAIT);
        self.driver.journal(append).await
    }

    /// What keeps messages from being sent at present; as [`Driver::obstacle`].
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.driver.obstacle()
    }

    /// Closes what was opened to send and for journals. Consumers are closed by their listeners.
    pub async fn close(&self) {
        self.driver.close().await;
    }
}

/// The URL, with passwords hidden.
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
