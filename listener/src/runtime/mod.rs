//! The listener: it subscribes, works on deliveries side by side, and stops in order. One
//! delivery's way is in `worker.rs`, the end in `shutdown.rs`, the beginning in `builder.rs`.

pub mod builder;
pub mod error;
mod failure;
pub mod options;
pub mod settle;
mod shutdown;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt, TryFutureExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint::{Bound, Definition};
use crate::runtime::builder::ListenerBuilder;
use crate::runtime::error::Error;
use crate::runtime::shutdown::Signals;
use crate::runtime::worker::Worker;
use crate::transport::delivery::Delivery;
use crate::transport::driver::{Binding, ConnectionState, Subscribed, Subscription};

/// A running service, or one that can run: a transport, targets, endpoints.
///
/// `start`, `stop` and `wait` may be called from anywhere, in any number: each does what is
/// left to do. After `wait`, `start` begins anew.
///
/// ```
/// use listener::{Listener, Notifier, Context, Transport, notification_endpoint};
/// # use std::sync::atomic::{AtomicUsize, Ordering};
///
/// #[derive(Default)]
/// struct Audit;
/// # static SEEN: AtomicUsize = AtomicUsize::new(0);
///
/// #[notification_endpoint(register = false)]
/// impl Audit {
///     async fn info(&self, event_type: &str) {
///         println!("{event_type}");
///         # SEEN.fetch_add(1, Ordering::SeqCst);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = Transport::open("memory://doc-listener")?;
/// let listener = Listener::builder().transport(transport.clone()).endpoint(Audit).build()?;
/// listener.start().await?;
/// let notifier = Notifier::builder(transport).publisher_id("compute.host1").build()?;
/// notifier.info(&Context::new(), "instance.create.end", &()).await?;
/// # while SEEN.load(Ordering::SeqCst) == 0 { tokio::task::yield_now().await }
/// listener.stop().await;
/// listener.wait().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Listener(Arc<Inner>);

struct Inner {
    worker: Arc<Worker>,
    bindings: Vec<Binding>,
    expires: Option<Duration>,
    /// Held while `start` attaches, so that a second start and a `stop` wait for it.
    starting: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
}

/// One run, from `start` to the end of `wait`.
#[derive(Clone)]
struct Running {
    stop: CancellationToken,
    ended: Shared<BoxFuture<'static, Result<(), Arc<JoinError>>>>,
    state: watch::Receiver<ConnectionState>,
}

impl Listener {
    /// Builds a listener.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::default()
    }

    fn new(worker: Worker, bindings: Vec<Binding>, expires: Option<Duration>) -> Self {
        Self(Arc::new(Inner {
            worker: Arc::new(worker),
            bindings,
            expires,
            starting: tokio::sync::Mutex::default(),
            running: Mutex::default(),
        }))
    }

    /// Attaches to the queues: it consumes when this returns. Does nothing when it runs.
    ///
    /// # Errors
    /// The broker cannot be reached within `start_timeout`, or refuses for a reason that
    /// will not pass by itself. Nothing stays behind; `start` may be called again.
    pub async fn start(&self) -> Result<(), Error> {
        let _starting = self.0.starting.lock().await;
        if self.running().is_some_and(|running| running.ended.peek().is_none()) {
            return Ok(());
        }
        let worker = &self.0.worker;
        self.log_table();
        let subscription = Subscription {
            bindings: self.0.bindings.clone(),
            prefetch: worker.options.prefetch,
            timeout: worker.options.start_timeout,
            expires: self.0.expires,
        };
        let subscribed = worker
            .transport
            .subscribe(subscription)
            .await
            .map_err(|source| Error::Connect { transport: worker.transport.to_string(), source })?;
        let stop = CancellationToken::new();
        let state = subscribed.consumer.state();
        let task = tokio::spawn(work_on(Arc::clone(worker), subscribed, stop.clone()));
        let ended = task.map_err(Arc::new).boxed().shared();
        self.keep(Running { stop, ended, state });
        Ok(())
    }

    /// Asks to take nothing new; `wait` tells when all is done. A start that is under way is
    /// waited for.
    pub async fn stop(&self) {
        let _starting = self.0.starting.lock().await;
        if let Some(running) = self.running() {
            running.stop.cancel();
        }
    }

    /// Waits until a listener that was stopped is done: what was in work is settled, what
    /// was not begun is the broker's again, the connections are closed. Returns at once when
    /// it was not started.
    ///
    /// # Errors
    /// The listener's own task panicked: a mistake in this crate.
    pub async fn wait(&self) -> Result<(), Error> {
        let Some(running) = self.running() else {
            return Ok(());
        };
        let ended = running.ended.await;
        self.0.worker.transport.close().await;
        ended.map_err(|error| Error::Task(error.to_string()))
    }

    /// Starts; runs until SIGINT or SIGTERM; stops; waits. A second signal ends the process
    /// at once, with exit code 130: what is unsettled is the broker's again.
    ///
    /// # Errors
    /// As `start` and `wait`.
    pub async fn run(&self) -> Result<(), Error> {
        let mut signals = Signals::new().map_err(Error::Signals)?;
        tokio::select! {
            started = self.start() => started?,
            signal = signals.next() => {
                tracing::info!(signal, "stopped before it was attached");
                return Ok(());
            }
        }
        let mut wait = std::pin::pin!(self.wait());
        tokio::select! {
            // `stop` was called by the program itself.
            ended = &mut wait => return ended,
            signal = signals.next() => tracing::info!(signal, "stopping"),
        }
        self.stop().await;
        tokio::select! {
            ended = wait => ended,
            signal = signals.next() => {
                tracing::warn!(signal, "second signal: ends at once");
                std::process::exit(130);
            }
        }
    }

    /// Whether every queue has its consumer right now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state() == Some(ConnectionState::Attached)
    }

    /// How the connection is; `None` before the first start.
    #[must_use]
    pub fn state(&self) -> Option<ConnectionState> {
        self.running().map(|running| running.state.borrow().clone())
    }

    /// What the attributes of its endpoints say, in the order in which they run. A program may
    /// check here that a crate whose endpoints it counts on is linked.
    pub fn endpoints(&self) -> impl Iterator<Item = &'static Definition> {
        self.0.worker.dispatcher.table().endpoints().iter().map(Bound::definition)
    }

    fn running(&self) -> Option<Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, running: Running) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    fn log_table(&self) {
        let worker = &self.0.worker;
        for bound in worker.dispatcher.table().endpoints() {
            let definition = bound.definition();
            let methods: Vec<_> = bound.methods().iter().map(|method| method.name).collect();
            tracing::info!(
                endpoint = format!("{}::{}", definition.module, definition.name),
                at = format!("{}:{}", definition.file, definition.line),
                methods = methods.join(", "),
                order = definition.order,
                group = definition.group.unwrap_or_default(),
                "endpoint"
            );
        }
        let queues: std::collections::BTreeSet<_> =
            self.0.bindings.iter().map(|binding| binding.queue.as_str()).collect();
        tracing::info!(
            transport = %worker.transport,
            queues = queues.into_iter().collect::<Vec<_>>().join(", "),
            prefetch = worker.options.prefetch,
            executor = ?worker.options.executor,
            "starting"
        );
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("transport", &self.0.worker.transport)
            .field("bindings", &self.0.bindings)
            .finish_non_exhaustive()
    }
}

/// Takes deliveries until it is stopped, each worked on by a task of its own.
async fn work_on(worker: Arc<Worker>, subscribed: Subscribed, stop: CancellationToken) {
    let Subscribed { mut deliveries, consumer } = subscribed;
    let slots =
        Arc::new(Semaphore::new(worker.options.executor.at_once().min(Semaphore::MAX_PERMITS)));
    let running = TaskTracker::new();
    let abort = CancellationToken::new();
    while let Some(delivery) = stop.run_until_cancelled(next(&slots, &mut deliveries)).await {
        let Some((slot, delivery)) = delivery else {
            break;
        };
        let (worker, stop, abort) = (Arc::clone(&worker), stop.clone(), abort.clone());
        running.spawn(async move {
            abort.run_until_cancelled(worker.work(delivery, &stop)).await;
            drop(slot);
        });
    }
    let deadline = worker.options.shutdown_timeout;
    shutdown::shut_down(consumer, deliveries, &running, &abort, deadline).await;
}

/// The next delivery, taken only once there is a place to work on it.
async fn next(
    slots: &Arc<Semaphore>,
    deliveries: &mut UnboundedReceiver<Delivery>,
) -> Option<(OwnedSemaphorePermit, Delivery)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    Some((slot, deliveries.recv().await?))
}
