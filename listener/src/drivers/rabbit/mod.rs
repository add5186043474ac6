//! The RabbitMQ driver: `Rabbit`, the `Driver` that the runtime and the notifier use. From the top down:
//! `consuming/` and `publishing/` run sessions, `topology/` declares queues and exchanges, `connection/`
//! connects, `workarounds/` has what lapin 4.12 makes necessary, and `core.rs` what all share. Only this
//! folder names lapin, and none of its types is public. `design.md` has the reasons.

mod builder;
mod connection;
mod consuming;
mod core;
mod options;
mod publishing;
mod query;
mod section;
mod topology;
mod wire;
mod workarounds;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use builder::RabbitBuilder;
pub use options::{FailoverStrategy, LoginMethod, RabbitOptions, TlsVersion};
pub(crate) use section::add_section;
#[cfg(feature = "oslo-config")]
pub(crate) use section::option_of_section;
#[doc(hidden)]
pub use wire::{headers_from_table, table_from_headers};
#[doc(hidden)]
pub use workarounds::nested_tables::filter_all;

use self::connection::io::Io;
use self::connection::link::ConnectionPurpose;
use self::consuming::supervisor;
use self::core::Core;
use self::publishing::journal::Journal;
use self::publishing::publish::{self, Attempt};
use self::publishing::publisher::Publisher;
use crate::future::BoxFuture;
use crate::transport::driver::{
    Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription,
};
use crate::transport::error::{ConnectError, JournalError, OpenError, SendError};
use crate::transport::url::TransportUrl;

/// The RabbitMQ driver.
///
/// Each subscription consumes over a connection of its own, and each existing quarantine queue over
/// another one. All messages are sent over one connection. Each journal has a connection, which is
/// closed after a minute without use. Connections are made when they are first needed, and made again
/// when they are lost. All I/O runs on a thread of the driver's own, so that a program that blocks its
/// runtime keeps its connections.
pub struct Rabbit {
    core: Arc<Core>,
    sender: OnceLock<Publisher>,
    /// By name. One for each, because RabbitMQ closes the connection that appends to a stream that it
    /// has lost, which must not affect other messages.
    journals: Mutex<HashMap<String, Journal>>,
    sends: TaskTracker,
}

impl Rabbit {
    /// The driver for a `rabbit://` or `amqp://` URL. Nothing is connected.
    ///
    /// # Errors
    /// An option of the URL is unknown or has an invalid value.
    pub fn new(url: &TransportUrl) -> Result<Self, OpenError> {
        Ok(Self::with(url, RabbitOptions::from_url(url)?))
    }

    /// Describes a driver without a URL. [`RabbitBuilder::open`] makes a transport of it.
    pub fn builder() -> RabbitBuilder {
        RabbitBuilder::new()
    }

    /// The driver for the hosts and the virtual host of a URL, with these options.
    fn with(url: &TransportUrl, options: RabbitOptions) -> Self {
        let core = Core::new(url, options);
        let sends = TaskTracker::new();
        // A closed tracker still accepts tokens, and wakes waiters each time it becomes empty.
        sends.close();
        Self { core: Arc::new(core), sender: OnceLock::new(), journals: Mutex::default(), sends }
    }

    fn sender(&self, io: &Io) -> Publisher {
        self.sender.get_or_init(|| self.open(io, ConnectionPurpose::Send)).clone()
    }

    fn of_journal(&self, io: &Io, journal: &str) -> Journal {
        let mut journals = self.journals();
        let open = || Journal::new(self.open(io, ConnectionPurpose::Journal));
        journals.entry(journal.to_owned()).or_insert_with(open).clone()
    }

    fn open(&self, io: &Io, purpose: ConnectionPurpose) -> Publisher {
        let _entered = io.handle().enter();
        Publisher::open(Arc::clone(&self.core), purpose)
    }

    fn journals(&self) -> MutexGuard<'_, HashMap<String, Journal>> {
        self.journals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All publishers that were opened.
    fn publishers(&self) -> Vec<Publisher> {
        let journals = self.journals();
        let of_journals = journals.values().map(|journal| journal.publisher.clone());
        self.sender.get().cloned().into_iter().chain(of_journals).collect()
    }
}

impl Driver for Rabbit {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        // On the program's own runtime, where the deliveries are handled: each would cost a wake-up of
        // another thread otherwise. Connections are made and kept on the I/O thread.
        Box::pin(supervisor::start(Arc::clone(&self.core), subscription))
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin(async move {
            let io = self.core.io()?;
            let publisher = self.sender(&io);
            let _counted = self.sends.token();
            let first = match publish::try_in_place(&io, &publisher, &outgoing).await {
                Attempt::Done(result) => return result,
                Attempt::Continue(first) => first,
            };
            let route = outgoing.route.clone();
            let send = publish::send(publisher, outgoing, first);
            // An error means that it panicked, or that its runtime has ended.
            AbortOnDropHandle::new(io.handle().spawn(send)).await.unwrap_or_else(|error| {
                Err(SendError::Interrupted { route: route.to_string(), reason: error.to_string() })
            })
        })
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        Box::pin(async move {
            let unreachable =
                |error: &dyn fmt::Display| JournalError::Unreachable(error.to_string());
            let io = self.core.io().map_err(|error| unreachable(&error))?;
            let _counted = self.sends.token();
            let append = self.of_journal(&io, &append.journal).append(append);
            AbortOnDropHandle::new(io.handle().spawn(append))
                .await
                .unwrap_or_else(|error| Err(unreachable(&error)))
        })
    }

    fn blocked(&self) -> Option<String> {
        self.sender.get().and_then(Publisher::blocked)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.publishers().is_empty() {
                return;
            }
            let Ok(io) = self.core.io() else {
                return;
            };
            // Others may share this driver, and go on sending.
            let sent = {
                // The caller may not be a task of tokio: the timer of the driver's runtime is used.
                let _entered = io.handle().enter();
                tokio::time::timeout(options::CALL_TIMEOUT, self.sends.wait())
            };
            let _ = sent.await;
            // If the broker did not answer when the last session closed, it is not waited for again.
            let timed_out = self.core.last_close_timed_out.swap(false, Ordering::Relaxed);
            let limit = if timed_out { Duration::ZERO } else { options::CLOSE_TIMEOUT };
            // Including those that were opened meanwhile.
            let publishers = self.publishers();
            join_all(publishers.iter().map(|publisher| publisher.close(limit))).await;
        })
    }
}

impl fmt::Debug for Rabbit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rabbit")
            .field("vhost", &self.core.vhost)
            .field("options", &self.core.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn concurrent_closes_wait_for_pending_sends_only() {
        let url = "rabbit://127.0.0.1:1/".parse().expect("a URL");
        let rabbit = Rabbit::new(&url).expect("a driver");
        let io = rabbit.core.io().expect("a thread");
        rabbit.sender(&io);
        let first_send = rabbit.sends.token();
        let mut first = rabbit.close();
        assert!((&mut first).now_or_never().is_none());
        drop(first_send);
        let second_send = rabbit.sends.token();
        let mut second = rabbit.close();
        assert!((&mut second).now_or_never().is_none());
        first.await;
        assert!((&mut second).now_or_never().is_none());
        drop(second_send);
        let limit = options::CALL_TIMEOUT / 2;
        tokio::time::timeout(limit, second).await.expect("no send is pending");
    }

    #[tokio::test]
    async fn a_publisher_opened_while_a_close_waits_is_closed_as_well() {
        let url = "rabbit://127.0.0.1:1/".parse().expect("a URL");
        let rabbit = Rabbit::new(&url).expect("a driver");
        let io = rabbit.core.io().expect("a thread");
        rabbit.sender(&io);
        let sends = rabbit.sends.token();
        let mut close = rabbit.close();
        assert!((&mut close).now_or_never().is_none());
        let (journal, is_closed) = Publisher::without_broker();
        rabbit.journals().insert("q.journal".to_owned(), Journal::new(journal));
        drop(sends);
        close.await;
        assert!(is_closed.load(Ordering::Relaxed));
    }
}
