//! The RabbitMQ driver: the `Driver` that the runtime and the notifier use. It owns what its
//! parts share (`Core`) and starts them; the parts stand in the order of a delivery's life.
//! Only this folder names lapin, and no type of it is public. `design.md` has the reasons.

mod connection;
mod consuming;
mod options;
mod publishing;
mod query;
mod topology;
mod wire;
mod workarounds;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use options::{FailoverStrategy, LoginMethod, RabbitOptions};
#[doc(hidden)]
pub use wire::{headers_from_table, table_from_headers};
#[doc(hidden)]
pub use workarounds::nested_tables::let_through;

use crate::future::BoxFuture;
use crate::transport::driver::{
    Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription,
};
use crate::transport::error::{ConnectError, JournalError, OpenError, SendError};
use crate::transport::url::TransportUrl;
use connection::hosts::{self, Address, Rotation};
use connection::link::{Io, Purpose};
use consuming::supervisor;
use publishing::journal;
use publishing::publish::{self, Attempt};
use publishing::publisher::Publisher;
use topology::known::Known;

/// The RabbitMQ driver.
///
/// It consumes over a connection for each subscription, with another one for each quarantine queue that
/// exists, sends over one that all share, and keeps each journal over one that is closed when nobody
/// needs it for a minute. Each is made when it is first needed, and made again when it is lost. All
/// its I/O runs on a thread of its own, so that a program that blocks its runtime keeps its connections.
pub struct Rabbit {
    core: Arc<Core>,
    sender: OnceLock<Publisher>,
    /// One for each, by its name: RabbitMQ closes the connection that appends to a stream that it has
    /// lost, and what others publish must not go with it.
    journals: Mutex<HashMap<String, Publisher>>,
    sends: TaskTracker,
}

/// What all parts of a driver share.
struct Core {
    /// In the order that was drawn for this process.
    addresses: Vec<Address>,
    vhost: String,
    options: RabbitOptions,
    known: Known,
    io: Mutex<Option<Arc<Io>>>,
    /// The last session that was closed had no answer in time.
    is_silent: AtomicBool,
}

impl Rabbit {
    /// The driver for a `rabbit://` or `amqp://` URL. Nothing is connected.
    ///
    /// # Errors
    /// An option of the URL is unknown, or has a value that it cannot have.
    pub fn new(url: &TransportUrl) -> Result<Self, OpenError> {
        let options = RabbitOptions::from_url(url)?;
        let mut addresses = hosts::addresses(url);
        fastrand::shuffle(&mut addresses);
        let core = Core {
            addresses,
            vhost: url.virtual_host().unwrap_or("/").to_owned(),
            options,
            known: Known::default(),
            io: Mutex::default(),
            is_silent: AtomicBool::new(false),
        };
        let sends = TaskTracker::new();
        // A closed tracker still takes new tokens, and wakes waiters each time it becomes empty.
        sends.close();
        Ok(Self {
            core: Arc::new(core),
            sender: OnceLock::new(),
            journals: Mutex::default(),
            sends,
        })
    }

    fn sender(&self, io: &Io) -> Publisher {
        self.sender.get_or_init(|| self.open(io, Purpose::Send)).clone()
    }

    fn of_journal(&self, io: &Io, journal: &str) -> Publisher {
        let mut journals = self.journals();
        let open = || self.open(io, Purpose::Journal);
        journals.entry(journal.to_owned()).or_insert_with(open).clone()
    }

    fn open(&self, io: &Io, purpose: Purpose) -> Publisher {
        let _entered = io.handle().enter();
        Publisher::open(Arc::clone(&self.core), purpose)
    }

    fn journals(&self) -> MutexGuard<'_, HashMap<String, Publisher>> {
        self.journals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that were opened.
    fn publishers(&self) -> Vec<Publisher> {
        self.sender.get().cloned().into_iter().chain(self.journals().values().cloned()).collect()
    }
}

impl Core {
    /// The driver's thread, started when it is first needed.
    fn io(&self) -> Result<Arc<Io>, ConnectError> {
        let mut io = self.io.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(io) = &*io {
            return Ok(Arc::clone(io));
        }
        let started = Io::start().map_err(|error| ConnectError::Local {
            action: "start the driver's thread".to_owned(),
            reason: format!("{error}; check its limits on threads, open files and memory"),
        })?;
        Ok(Arc::clone(io.insert(Arc::new(started))))
    }

    fn rotation(&self) -> Rotation {
        Rotation::new(self.addresses.clone(), self.options.kombu_failover_strategy)
    }
}

impl Driver for Rabbit {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        // On the program's own runtime, where the deliveries are worked on: between two threads
        // each would cost a wake-up. Connecting, and all that keeps a connection, is on ours.
        Box::pin(supervisor::start(Arc::clone(&self.core), subscription))
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin(async move {
            let io = self.core.io()?;
            let publisher = self.sender(&io);
            let _counted = self.sends.token();
            let tried = match publish::try_at_once(&io, &publisher, &outgoing).await {
                Attempt::Over(result) => return result,
                Attempt::Goes(tried) => tried,
            };
            let route = outgoing.route.clone();
            let send = publish::send(publisher, outgoing, tried);
            // It panicked, or its runtime is gone.
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
            let append = journal::append(self.of_journal(&io, &append.journal), append);
            AbortOnDropHandle::new(io.handle().spawn(append))
                .await
                .unwrap_or_else(|error| Err(unreachable(&error)))
        })
    }

    fn obstacle(&self) -> Option<String> {
        self.sender.get().and_then(Publisher::obstacle)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.publishers().is_empty() {
                return;
            }
            let Ok(io) = self.core.io() else {
                return;
            };
            // Others may share this driver, and send on and on.
            let sent = {
                // The caller's task need not be one of tokio's: the driver's clock is used.
                let _entered = io.handle().enter();
                tokio::time::timeout(options::CALL_TIMEOUT, self.sends.wait())
            };
            let _ = sent.await;
            // A broker that has just left the end of a session without an answer is not waited for
            // a second time.
            let is_silent = self.core.is_silent.swap(false, Ordering::Relaxed);
            let limit = if is_silent { Duration::ZERO } else { options::CLOSE_TIMEOUT };
            // Also those that were opened while this waited.
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
    async fn two_that_close_at_once_wait_for_what_is_sent_and_no_longer() {
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
        tokio::time::timeout(limit, second).await.expect("nothing is sent any more");
    }

    #[tokio::test]
    async fn what_is_opened_while_a_close_waits_is_closed_as_well() {
        let url = "rabbit://127.0.0.1:1/".parse().expect("a URL");
        let rabbit = Rabbit::new(&url).expect("a driver");
        let io = rabbit.core.io().expect("a thread");
        rabbit.sender(&io);
        let sends = rabbit.sends.token();
        let mut close = rabbit.close();
        assert!((&mut close).now_or_never().is_none());
        let (journal, is_closed) = Publisher::without_broker();
        rabbit.journals().insert("q.journal".to_owned(), journal);
        drop(sends);
        close.await;
        assert!(is_closed.load(Ordering::Relaxed));
    }
}
