//! One transport of a listener, with what belongs to it alone: its queues, copies, journals and slots. Each
//! attaches, loses its session and stops independently of the others. `mod.rs` starts and stops all of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::redact::Chain;
use crate::runtime::consume;
use crate::runtime::error::Error;
use crate::runtime::health::TransportHealth;
use crate::runtime::shared::Shared;
use crate::transport::Transport;
use crate::transport::driver::{Binding, ConnectionState, Subscribed, Subscription};

/// The delay before the second attempt to attach a transport that was not reached at the start; it doubles
/// before each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest of these delays.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// One transport of a listener.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) shared: Arc<Shared>,
    pub(super) bindings: Vec<Binding>,
    /// How long the queue of a temporary pool may have no consumer.
    pub(super) expires: Option<Duration>,
    /// Whether the listener opened the transport itself, and therefore closes it.
    pub(super) owns_transport: bool,
}

/// The connection of an attachment in one run.
#[derive(Clone, Debug)]
pub(super) struct Connection(Arc<Mutex<watch::Receiver<ConnectionState>>>);

/// One run of an attachment.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) connection: Connection,
    pub(super) stop: CancellationToken,
    /// Cancelled once the stop is recorded, or could not be recorded in time.
    pub(super) recorded: CancellationToken,
}

impl Connection {
    fn new(state: watch::Receiver<ConnectionState>) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// That of an attachment whose attempt failed.
    fn failed(reason: &str) -> Self {
        Self::new(constant(ConnectionState::Lost { reason: reason.into() }))
    }

    pub(super) fn state(&self) -> ConnectionState {
        self.lock().borrow().clone()
    }

    fn set(&self, state: watch::Receiver<ConnectionState>) {
        *self.lock() = state;
    }

    fn lock(&self) -> MutexGuard<'_, watch::Receiver<ConnectionState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A state that does not change any more.
fn constant(state: ConnectionState) -> watch::Receiver<ConnectionState> {
    watch::channel(state).1
}

impl Run {
    /// Of a consumer that is attached.
    pub(super) fn attached(subscribed: &Subscribed, stop: CancellationToken) -> Self {
        let connection = Connection::new(subscribed.consumer.state());
        Self { connection, stop, recorded: CancellationToken::new() }
    }

    /// Of a transport that could not be reached.
    pub(super) fn failed(error: &Error, stop: CancellationToken) -> Self {
        let connection = Connection::failed(&Chain(error).to_string());
        Self { connection, stop, recorded: CancellationToken::new() }
    }
}

impl Attachment {
    pub(super) fn transport(&self) -> &Transport {
        self.shared.copier.transport()
    }

    /// Attaches to every queue.
    pub(super) async fn subscribe(&self) -> Result<Subscribed, Error> {
        let transport = self.transport();
        let subscribed = transport.subscribe(self.subscription()).await;
        subscribed.map_err(|source| Error::Connect { transport: transport.to_string(), source })
    }

    fn subscription(&self) -> Subscription {
        let shared = &self.shared;
        Subscription {
            bindings: self.bindings.clone(),
            prefetch: shared.options.prefetch,
            timeout: shared.options.start_timeout,
            expires: self.expires,
            quarantine: shared.quarantines.queues().into_iter().map(str::to_owned).collect(),
            bytes: shared.options.bytes_in_flight,
            slots: Some(shared.options.executor.at_once().max(2 * shared.batches.capacity())),
        }
    }

    /// Consumes until the run ends. Returns how many tasks and plain `fn`s still run.
    pub(super) fn consume(
        &self,
        subscribed: Subscribed,
        run: Run,
    ) -> impl Future<Output = usize> + Send + use<> {
        self.shared.quarantines.journals().for_each(|journal| journal.start());
        consume::consume(Arc::clone(&self.shared), subscribed, run.stop, run.recorded)
    }

    /// Attaches after the start, when the transport can be reached, and consumes until the run ends.
    pub(super) async fn attach_later(self: Arc<Self>, run: Run) -> usize {
        let mut delay = FIRST_DELAY;
        let subscribed = loop {
            let attempt = async {
                tokio::time::sleep(delay).await;
                self.subscribe().await
            };
            let attempt = tokio::select! {
                biased;
                () = run.stop.cancelled() => {
                    run.connection.set(constant(ConnectionState::Closed));
                    run.recorded.cancel();
                    return 0;
                }
                attempt = attempt => attempt,
            };
            match attempt {
                Ok(subscribed) => break subscribed,
                Err(error) => {
                    let reason = Chain(&error).to_string();
                    tracing::warn!(transport = %self.transport(), reason, "still not attached");
                    run.connection.set(constant(ConnectionState::Lost { reason: reason.into() }));
                }
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        };
        tracing::info!(transport = %self.transport(), "attached after the start");
        run.connection.set(subscribed.consumer.state());
        self.consume(subscribed, run).await
    }

    pub(super) fn health(&self, connection: Option<ConnectionState>) -> TransportHealth {
        let shared = &self.shared;
        let queues: BTreeSet<&str> =
            self.bindings.iter().map(|binding| binding.queue.as_str()).collect();
        // Quarantine queues appear once something was delivered from them.
        let quarantine: Vec<&str> = shared
            .quarantines
            .queues()
            .into_iter()
            .filter(|queue| shared.in_flight.knows(queue))
            .collect();
        TransportHealth {
            transport: self.transport().to_string(),
            connection,
            queues: shared.in_flight.health(queues.into_iter().chain(quarantine)),
            paused: shared.copier.paused(),
            blocked: self.transport().blocked(),
            refused: shared.copier.refused_count(),
        }
    }

    /// Closes the transport, if the listener has opened it.
    pub(super) async fn close(&self) {
        if self.owns_transport {
            self.transport().close().await;
        }
    }
}
