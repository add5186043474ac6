//! The listener: start, stop, wait, run. A run is the task in `consume.rs`, from the subscription to the
//! end in `shutdown.rs`; `worker.rs` has the stages of one delivery. Built by `builder.rs`. `design.md`
//! gives the reasons.

mod attachment;
pub(crate) mod builder;
mod batches;
mod capabilities;
mod case;
mod choose;
mod consume;
pub(crate) mod error;
pub(crate) mod health;
mod judge;
mod names;
mod open;
mod program_code;
mod schedule;
pub(crate) mod settle;
mod shared;
mod shutdown;
mod signals;
mod suspect;
mod worker;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt, TryFutureExt};
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::endpoint::{Bound, EndpointDefinition};
use crate::outcome::BoxError;
use crate::redact::Chain;
use crate::runtime::attachment::{Attachment, Run};
use crate::runtime::builder::{ListenerBuilder, Parts};
use crate::runtime::error::{BuildError, EndpointLocation, Error};
use crate::runtime::health::Health;
use crate::runtime::shared::Shared;
use crate::runtime::signals::Signals;
use crate::transport::driver::{ConnectionState, MAX_TIMEOUT};
use crate::transport::executor;

/// Consumes notifications, and calls the methods of its endpoints for them.
///
/// A listener is a handle: clones refer to the same service. [`start`](Self::start), [`stop`](Self::stop),
/// [`wait`](Self::wait) and [`shutdown`](Self::shutdown) may be called from any task, repeatedly and
/// concurrently. After a stop, `start` begins a new run.
///
/// The listener stops when its last clone is dropped. Keep it in a variable while it runs: the expression
/// `builder.build()?.start().await?` drops it immediately.
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
/// listener.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a listener that is dropped stops: keep it until `shutdown`, or `run` it"]
pub struct Listener(Arc<Inner>);

struct Inner {
    /// One for each transport, at least one.
    attachments: Vec<Arc<Attachment>>,
    /// Held while `start` attaches, so that a second `start` and a `stop` wait for it.
    starting: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
}

/// Without a handle a run could not be stopped any more.
impl Drop for Inner {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running else { return };
        if !running.stop.is_cancelled() && !running.is_finished() {
            tracing::warn!(
                "the listener stops: its last handle was dropped while it was running; keep it in a \
                 variable, as in `let listener = builder.build()?`, until `shutdown`"
            );
        }
        running.stop.cancel();
    }
}

/// One run, from `start` to its end.
#[derive(Clone)]
struct Running {
    stop: CancellationToken,
    /// That of each attachment.
    runs: Vec<Run>,
    tasks: Vec<AbortHandle>,
    /// Returns how many tasks and plain `fn`s still run at the end, because they cannot be cancelled.
    ended: future::Shared<BoxFuture<'static, Result<usize, Arc<JoinError>>>>,
}

impl Running {
    fn is_finished(&self) -> bool {
        self.tasks.iter().all(AbortHandle::is_finished)
    }

    /// Waits until the stop is recorded by each attachment, or could not be recorded in time.
    async fn recorded(&self) {
        future::join_all(self.runs.iter().map(|run| run.recorded.cancelled())).await;
    }
}

impl ListenerBuilder {
    /// Builds the listener, without I/O.
    ///
    /// # Errors
    /// Every mistake that can be found without I/O, in one error.
    pub fn build(self) -> Result<Listener, BuildError> {
        self.finish().map(Listener::new)
    }
}

impl Listener {
    /// Returns a builder, which sets the transport, the endpoints and the options.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::default()
    }

    fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            attachments: parts.attachments,
            starting: tokio::sync::Mutex::default(),
            running: Mutex::default(),
        }))
    }

    /// Connects to the broker and starts consuming: all queues have their consumer when this returns. Does
    /// nothing if the listener is running. If it is stopping, the new run begins once the old one has ended.
    ///
    /// With several transports each is consumed as soon as it is attached, and this returns when all are
    /// attached, or, after at most `start_timeout`, when at least one is. The listener keeps trying to attach the
    /// others, whatever the reason, with growing delays of up to 30 s, and is not ready until then. If none can
    /// be attached, this returns the error of the first one, and the others are logged.
    ///
    /// # Errors
    /// - [`Error::Instance`]: the `init` function of an endpoint failed, panicked, or was not done within
    ///   `start_timeout`.
    /// - [`Error::Connect`]: the broker could not be reached within `start_timeout`, or refused for a reason
    ///   that another attempt does not change.
    /// - [`Error::Runtime`]: there is no tokio runtime with timers.
    ///
    /// After an error nothing is left running, and `start` may be called again.
    pub async fn start(&self) -> Result<(), Error> {
        executor::check()?;
        let _starting = self.0.starting.lock().await;
        if let Some(running) = self.running().filter(|running| !running.is_finished()) {
            if !running.stop.is_cancelled() {
                return Ok(());
            }
            // The previous run is stopping.
            let _ = running.ended.await;
        }
        self.log_table();
        self.make_instances().await?;
        let stop = CancellationToken::new();
        // If this future is dropped, transports that are attached by then must not stay so.
        let guard = stop.clone().drop_guard();
        let attachments = &self.0.attachments;
        let starts = attachments.iter().map(|attachment| async {
            // One of several that ends does not stop the others.
            let stop = if attachments.len() == 1 { stop.clone() } else { stop.child_token() };
            match attachment.subscribe().await {
                Ok(subscribed) => {
                    let run = Run::attached(&subscribed, stop);
                    Ok((run.clone(), tokio::spawn(attachment.consume(subscribed, run))))
                }
                Err(error) => Err((Run::failed(&error, stop), error)),
            }
        });
        let started = future::join_all(starts).await;
        if started.iter().all(Result::is_err) {
            return Err(first_error(started));
        }
        let (runs, tasks): (Vec<Run>, Vec<_>) = attachments
            .iter()
            .zip(started)
            .map(|(attachment, started)| match started {
                Ok(attached) => attached,
                Err((run, error)) => {
                    log_failed(&error, "a transport is not attached: the listener keeps trying");
                    let attaching = Arc::clone(attachment).attach_later(run.clone());
                    (run, tokio::spawn(attaching))
                }
            })
            .unzip();
        let aborts = tasks.iter().map(JoinHandle::abort_handle).collect();
        let ended = future::try_join_all(tasks)
            .map_ok(|unfinished| unfinished.into_iter().max().unwrap_or_default())
            .map_err(Arc::new)
            .boxed()
            .shared();
        guard.disarm();
        self.keep(Running { stop, runs, tasks: aborts, ended });
        Ok(())
    }

    /// Creates the instances of endpoints that do not exist yet.
    async fn make_instances(&self) -> Result<(), Error> {
        let shared = self.shared();
        for endpoint in shared.dispatcher.table().endpoints() {
            let limit = shared.options.start_timeout.min(MAX_TIMEOUT);
            let made = program_code::within(limit, || endpoint.make(&shared.states).boxed()).await;
            made.map_err(BoxError::from).and_then(|made| made).map_err(|source| {
                Error::Instance { endpoint: EndpointLocation::of(endpoint.definition()), source }
            })?;
        }
        Ok(())
    }

    /// Begins to stop: no method is called any more for deliveries that were not started. Does nothing if the
    /// listener is not running. [`wait`](Self::wait) waits for the running methods;
    /// [`shutdown`](Self::shutdown) does both.
    ///
    /// Returns once a concurrent `start` has finished, and, after at most two seconds, once the stop is
    /// recorded: a process that exits then, although methods are running, is not counted as a crash.
    pub async fn stop(&self) {
        self.begin_stop().await;
    }

    /// As `stop`; returns the run that it stops.
    async fn begin_stop(&self) -> Option<Running> {
        let starting = self.0.starting.lock().await;
        let running = self.running()?;
        running.stop.cancel();
        drop(starting);
        tokio::select! {
            () = running.recorded() => {}
            // Without a record: its task panicked, or the runtime was dropped.
            _ = running.ended.clone() => {}
        }
        Some(running)
    }

    /// Waits until the run has ended after [`stop`](Self::stop): the running methods have returned, or
    /// `shutdown_timeout` is over; what they handled is settled; the broker redelivers everything else; the
    /// connections are closed. A transport that was passed to the builder stays open. Returns immediately
    /// if the listener was never started.
    ///
    /// # Errors
    /// [`Error::Task`]: the listener's task panicked, which is a bug in this crate.
    pub async fn wait(&self) -> Result<(), Error> {
        self.wait_for_end().await.map(drop)
    }

    /// As `wait`; returns how many tasks and plain `fn`s still run.
    async fn wait_for_end(&self) -> Result<usize, Error> {
        match self.running() {
            Some(running) => self.end_of(running).await,
            None => Ok(0),
        }
    }

    /// Stops the listener and waits until the run has ended: [`stop`](Self::stop), then
    /// [`wait`](Self::wait) for the run that it stopped.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn shutdown(&self) -> Result<(), Error> {
        // The run that is stopped is waited for, not one that another task starts after it.
        match self.begin_stop().await {
            Some(running) => self.end_of(running).await.map(drop),
            None => Ok(()),
        }
    }

    async fn end_of(&self, running: Running) -> Result<usize, Error> {
        let unfinished = running.ended.await;
        future::join_all(self.0.attachments.iter().map(|attachment| attachment.close())).await;
        unfinished.map_err(|error| Error::Task(error.to_string()))
    }

    /// Starts the listener, runs it until SIGINT or SIGTERM (Ctrl-C on Windows) or until
    /// [`stop`](Self::stop) is called, stops it, and waits.
    ///
    /// A second signal ends the process with exit code 130, once the stop is recorded, which takes at most
    /// two seconds; the broker redelivers everything that is unsettled. Use
    /// [`run_until`](Self::run_until) in programs that handle signals themselves.
    ///
    /// # Cancellation
    /// Dropping this future does not stop a listener that has started. A process that ends without a stop
    /// while methods are running, as when `main` returns after a `select!` that dropped this future, may be
    /// counted as a crash; after a few of those the notification becomes a dead letter with the reason
    /// `poison`. Call [`shutdown`](Self::shutdown) first. Meanwhile poll this future or drop it: one that is
    /// kept without being polled may block the stop.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`wait`](Self::wait). [`Error::Runtime`] if the tokio runtime has no
    /// I/O, which signals need; [`Error::Signals`] if they cannot be caught.
    pub async fn run(&self) -> Result<(), Error> {
        executor::check()?;
        let mut signals = executor::with_io(Signals::new)?.map_err(Error::Signals)?;
        let signalled = CancellationToken::new();
        let mut served = std::pin::pin!(self.serve(signalled.cancelled()));
        tokio::select! {
            // It could not start, the program called `stop`, or the driver ended the subscription.
            unfinished = &mut served => return unfinished.map(drop),
            signal = signals.next() => tracing::info!(signal, "stopping"),
        }
        signalled.cancel();
        tokio::select! {
            unfinished = &mut served => {
                if unfinished? > 0 {
                    signals::exit_at_next_signal();
                }
                Ok(())
            }
            signal = signals.next() => {
                tracing::warn!(signal, "second signal: exiting once the stop is recorded");
                let recorded = async {
                    tokio::select! {
                        // Still polled: it may wait for the lock `starting` before `stop` does.
                        _ = &mut served => {}
                        () = self.stop() => {}
                    }
                };
                let _ = tokio::time::timeout(signals::SECOND_SIGNAL_TIMEOUT, recorded).await;
                std::process::exit(signals::SECOND_SIGNAL_EXIT_CODE);
            }
        }
    }

    /// Starts the listener, runs it until `end` completes or [`stop`](Self::stop) is called, stops it, and
    /// waits. If `end` completes before the listener has started, nothing is consumed.
    ///
    /// For programs that handle signals themselves, such as those with a server. Once a program listens for
    /// a signal with tokio, that signal does not end the process any more: the program has to handle a
    /// second one. Also returns `Ok` if methods are still running after `shutdown_timeout`; a plain `fn`
    /// that does not return keeps a tokio runtime from shutting down.
    ///
    /// # Cancellation
    /// Dropping this future does not stop a listener that has started; see [`run`](Self::run).
    ///
    /// ```no_run
    /// # #[cfg(unix)]
    /// # async fn example(listener: listener::Listener) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::signal::unix::{SignalKind, signal};
    ///
    /// let mut terminate = signal(SignalKind::terminate())?;
    /// listener.run_until(async { drop(terminate.recv().await) }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`wait`](Self::wait).
    pub async fn run_until(&self, end: impl Future<Output = ()>) -> Result<(), Error> {
        self.serve(end).await.map(drop)
    }

    /// As `run_until`; returns how many tasks and plain `fn`s still run.
    async fn serve(&self, end: impl Future<Output = ()>) -> Result<usize, Error> {
        executor::check()?;
        let mut end = std::pin::pin!(end);
        let is_attached = tokio::select! {
            biased;
            () = &mut end => false,
            started = self.start() => started.map(|()| true)?,
        };
        if is_attached {
            let mut ended = std::pin::pin!(self.wait_for_end());
            tokio::select! {
                // The program called `stop`, or the driver ended the subscription.
                unfinished = &mut ended => return unfinished,
                () = &mut end => {}
            }
        } else {
            tracing::info!("stopping before the start was finished");
        }
        match self.begin_stop().await {
            Some(running) => self.end_of(running).await,
            None => Ok(0),
        }
    }

    /// Whether the listener is consuming from every queue, and can send every retry and dead letter.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_sending =
            |attachment: &Arc<Attachment>| attachment.shared.copier.paused().is_empty();
        self.connection_state() == Some(ConnectionState::Attached)
            && self.0.attachments.iter().all(is_sending)
    }

    /// Reports the state of the connection and of each queue, and what cannot be done at present.
    #[must_use]
    pub fn health(&self) -> Health {
        let running = self.running();
        let state = |index: usize| Some(running.as_ref()?.runs.get(index)?.connection.state());
        let attachments = self.0.attachments.iter().enumerate();
        Health::of(attachments.map(|(at, attachment)| attachment.health(state(at))).collect())
    }

    /// The state of the connection; `None` before the first start. With several transports it is `Attached` if
    /// all are, and else the state of the first that is not.
    #[must_use]
    pub fn connection_state(&self) -> Option<ConnectionState> {
        let running = self.running()?;
        health::combined(running.runs.iter().map(|run| Some(run.connection.state())))
    }

    /// The definitions of the endpoints, in the order in which they are called. A program can check here
    /// that a crate whose endpoints it relies on is linked.
    pub fn endpoints(&self) -> impl Iterator<Item = &'static EndpointDefinition> {
        self.shared().dispatcher.table().endpoints().iter().map(Bound::definition)
    }

    fn running(&self) -> Option<Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, running: Running) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    fn log_table(&self) {
        let shared = self.shared();
        for bound in shared.dispatcher.table().endpoints() {
            let definition = bound.definition();
            let methods: Vec<_> = bound.methods().iter().map(|method| method.name).collect();
            tracing::info!(
                endpoint = bound.name(),
                at = format!("{}:{}", definition.file, definition.line),
                methods = methods.join(", "),
                order = definition.order,
                group = definition.group.unwrap_or_default(),
                "endpoint"
            );
        }
        for attachment in &self.0.attachments {
            let bindings = attachment.bindings.iter().map(|binding| {
                format!("{}/{} to {}", binding.exchange, binding.routing_key, binding.queue)
            });
            let bindings: BTreeSet<_> = bindings.collect();
            tracing::info!(
                transport = %attachment.transport(),
                bindings = Vec::from_iter(bindings).join(", "),
                prefetch = shared.options.prefetch,
                executor = ?shared.options.executor,
                "starting"
            );
        }
    }

    /// The parts of the first transport; those of the program are the same for all.
    fn shared(&self) -> &Shared {
        &self.0.attachments[0].shared
    }
}

/// The error of the first transport, if none could be attached; the others are logged.
fn first_error<T>(started: Vec<Result<T, (Run, Error)>>) -> Error {
    let mut errors = started.into_iter().filter_map(Result::err).map(|(_, error)| error);
    let first = errors.next();
    errors.for_each(|error| log_failed(&error, "a transport could not be attached"));
    first.unwrap_or_else(|| Error::Task("it has no transport".to_owned()))
}

fn log_failed(error: &Error, what: &str) {
    tracing::error!(error = %Chain(error), "{what}");
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("attachments", &self.0.attachments).finish_non_exhaustive()
    }
}
