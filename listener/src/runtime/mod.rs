//! The listener: it subscribes, works on deliveries side by side, and stops in order. One
//! delivery's way is in `worker.rs`, the end in `shutdown.rs`, the beginning in `builder.rs`.
//! `design.md` has the reasons.

pub(crate) mod builder;
mod case;
pub(crate) mod error;
pub(crate) mod health;
mod judge;
mod names;
mod open;
pub(crate) mod options;
mod program_code;
mod schedule;
pub(crate) mod settle;
mod shared;
mod shutdown;
mod suspect;
mod worker;

use std::collections::BTreeSet;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt, TryFutureExt};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::endpoint::{Bound, Definition};
use crate::observer::Event;
use crate::outcome::BoxError;
use crate::runtime::builder::ListenerBuilder;
use crate::runtime::error::{Error, Place};
use crate::runtime::health::Health;
use crate::runtime::schedule::scheduler::Scheduler;
use crate::runtime::shared::Shared;
use crate::runtime::shutdown::Signals;
use crate::runtime::suspect::journal::Journal;
use crate::transport::driver::{Binding, ConnectionState, LONGEST_WAIT, Subscribed, Subscription};
use crate::transport::executor;

/// A running service, or one that can run: a transport, targets, endpoints.
///
/// `start`, `stop` and `wait` may be called from anywhere, in any number: each does what is
/// left to do. After a stop, `start` begins anew. A listener of which no clone is left stops: keep
/// it for as long as it is to run. `builder.build()?.start().await?` as one expression drops it at
/// once.
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
#[must_use = "a listener that is dropped stops: keep it until `stop` and `wait`, or `run` it"]
pub struct Listener(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    bindings: Vec<Binding>,
    expires: Option<Duration>,
    /// Whether the listener opened the transport itself, and so closes it.
    owns_transport: bool,
    /// Held while `start` attaches, so that a second start and a `stop` wait for it.
    starting: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
}

/// A listener that nobody holds any more could not be stopped: it stops by itself.
impl Drop for Inner {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running else { return };
        if !running.stop.is_cancelled() && !running.task.is_finished() {
            tracing::warn!(
                "the listener stops: its last handle was dropped while it ran; keep it in a \
                 variable, as in `let listener = builder.build()?`, until `stop` and `wait`"
            );
        }
        running.stop.cancel();
    }
}

/// One run, from `start` to the end of `wait`.
#[derive(Clone)]
struct Running {
    stop: CancellationToken,
    /// Cancelled once the stop is recorded, or was waited for long enough.
    recorded: CancellationToken,
    task: AbortHandle,
    /// Gives the number of methods that ran on after the deadline.
    ended: future::Shared<BoxFuture<'static, Result<usize, Arc<JoinError>>>>,
    state: watch::Receiver<ConnectionState>,
}

impl Listener {
    /// Builds a listener.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::default()
    }

    fn new(
        shared: Shared,
        bindings: Vec<Binding>,
        expires: Option<Duration>,
        owns_transport: bool,
    ) -> Self {
        Self(Arc::new(Inner {
            shared: Arc::new(shared),
            bindings,
            expires,
            owns_transport,
            starting: tokio::sync::Mutex::default(),
            running: Mutex::default(),
        }))
    }

    /// Attaches to the queues: it consumes when this returns. Does nothing when it runs.
    ///
    /// # Errors
    /// A function that `init` names failed. The broker cannot be reached within
    /// `start_timeout`, or refuses for a reason that
    /// will not pass by itself. There is no tokio runtime with timers here. Nothing stays behind;
    /// `start` may be called again.
    pub async fn start(&self) -> Result<(), Error> {
        executor::check()?;
        let _starting = self.0.starting.lock().await;
        if let Some(running) = self.running().filter(|running| !running.task.is_finished()) {
            if !running.stop.is_cancelled() {
                return Ok(());
            }
            // The last run is on its end: this one begins behind it.
            let _ = running.ended.await;
        }
        let shared = &self.0.shared;
        self.log_table();
        for endpoint in shared.dispatcher.table().endpoints() {
            let limit = shared.options.start_timeout.min(LONGEST_WAIT);
            let made = program_code::within(limit, || endpoint.make(&shared.states).boxed()).await;
            made.map_err(BoxError::from).and_then(|made| made).map_err(|source| {
                Error::Instance { endpoint: Place::of(endpoint.definition()), source }
            })?;
        }
        let subscription = Subscription {
            bindings: self.0.bindings.clone(),
            prefetch: shared.options.prefetch,
            timeout: shared.options.start_timeout,
            expires: self.0.expires,
            quarantine: shared.quarantines.queues().into_iter().map(str::to_owned).collect(),
            bytes: shared.options.bytes_in_flight,
            slots: Some(shared.options.executor.at_once()),
        };
        let transport = &shared.copier.transport;
        let subscribed = transport
            .subscribe(subscription)
            .await
            .map_err(|source| Error::Connect { transport: transport.to_string(), source })?;
        shared.quarantines.journals().for_each(|journal| journal.start());
        let (stop, recorded) = (CancellationToken::new(), CancellationToken::new());
        let state = subscribed.consumer.state();
        let work = work_on(Arc::clone(shared), subscribed, stop.clone(), recorded.clone());
        let task = tokio::spawn(work);
        let abort = task.abort_handle();
        let ended = task.map_err(Arc::new).boxed().shared();
        self.keep(Running { stop, recorded, task: abort, ended, state });
        Ok(())
    }

    /// Asks to take nothing new; `wait` tells when all is done. A start that is under way is
    /// waited for, and so is, for two seconds at most, the record that the process stops in order:
    /// one that ends before its methods do is not taken for one that died of them.
    pub async fn stop(&self) {
        self.begin_stop().await;
    }

    /// As `stop`; the run that it ends.
    async fn begin_stop(&self) -> Option<Running> {
        let starting = self.0.starting.lock().await;
        let running = self.running()?;
        running.stop.cancel();
        drop(starting);
        running.recorded.cancelled().await;
        Some(running)
    }

    /// Waits until a listener that was stopped is done: what was in work is settled, what
    /// was not begun is the broker's again, its connections are closed. A transport that was
    /// handed to it stays open for those who share it. Returns at once when it was not started.
    ///
    /// # Errors
    /// The listener's own task panicked: a mistake in this crate.
    pub async fn wait(&self) -> Result<(), Error> {
        self.end().await.map(drop)
    }

    /// As `wait`; gives the number of methods that ran on after the deadline.
    async fn end(&self) -> Result<usize, Error> {
        match self.running() {
            Some(running) => self.end_of(running).await,
            None => Ok(0),
        }
    }

    async fn end_of(&self, running: Running) -> Result<usize, Error> {
        let unfinished = running.ended.await;
        if self.0.owns_transport {
            self.0.shared.copier.transport.close().await;
        }
        unfinished.map_err(|error| Error::Task(error.to_string()))
    }

    /// Starts; runs until SIGINT or SIGTERM; stops; waits. A second signal ends the process with exit
    /// code 130, once the stop is recorded, which takes two seconds at most: unsettled deliveries return
    /// to the broker. [`run_until`](Self::run_until) neither handles signals nor ends the process.
    ///
    /// Dropping this future does not stop an attached listener. A process that ends without a stop while
    /// methods run, as when `main` returns after a `select!` that dropped it, may be counted as a death,
    /// and after a few of those the notification becomes a dead letter with the reason `poison`: call
    /// [`stop`](Self::stop) and [`wait`](Self::wait) first. Poll this future meanwhile, or drop it: one
    /// that is neither may hold up the stop.
    ///
    /// # Errors
    /// As `start` and `wait`; a tokio runtime without I/O cannot wait for signals.
    pub async fn run(&self) -> Result<(), Error> {
        executor::check()?;
        let mut signals = executor::with_io(Signals::new)?.map_err(Error::Signals)?;
        let asked = CancellationToken::new();
        let mut served = std::pin::pin!(self.serve(asked.cancelled()));
        tokio::select! {
            // It could not start, or `stop` was called by the program itself.
            unfinished = &mut served => return unfinished.map(drop),
            signal = signals.next() => tracing::info!(signal, "stopping"),
        }
        asked.cancel();
        tokio::select! {
            unfinished = &mut served => {
                if unfinished? > 0 {
                    shutdown::end_at_next_signal();
                }
                Ok(())
            }
            signal = signals.next() => {
                tracing::warn!(signal, "second signal: exiting once the stop is recorded");
                let recorded = async {
                    tokio::select! {
                        // Polled on: it may be next in line for the lock `starting`, and `stop`
                        // behind it.
                        _ = &mut served => {}
                        () = self.stop() => {}
                    }
                };
                let _ = tokio::time::timeout(shutdown::SECOND_SIGNAL_WAITS, recorded).await;
                std::process::exit(shutdown::SECOND_SIGNAL);
            }
        }
    }

    /// Starts; runs until `end` is ready or [`stop`](Self::stop) is called; stops; waits. Where `end` is
    /// ready before the listener is attached, nothing is consumed.
    ///
    /// For programs that handle signals themselves, such as those with a server. Once tokio has been asked
    /// for a signal, further ones do not end the process: the program has to handle the second one. Returns
    /// `Ok` also where methods outlive `shutdown_timeout`; a plain `fn` that does not return keeps a tokio
    /// runtime from shutting down. Dropping this future does not stop an attached listener; see
    /// [`run`](Self::run).
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
    /// As `start` and `wait`.
    pub async fn run_until(&self, end: impl Future<Output = ()>) -> Result<(), Error> {
        self.serve(end).await.map(drop)
    }

    /// As `run_until`; gives the number of methods that ran on after the deadline.
    async fn serve(&self, end: impl Future<Output = ()>) -> Result<usize, Error> {
        executor::check()?;
        let mut end = std::pin::pin!(end);
        let is_attached = tokio::select! {
            biased;
            () = &mut end => false,
            started = self.start() => started.map(|()| true)?,
        };
        if is_attached {
            let mut ended = std::pin::pin!(self.end());
            tokio::select! {
                // `stop` was called by the program itself.
                unfinished = &mut ended => return unfinished,
                () = &mut end => {}
            }
        } else {
            tracing::info!("stopping before it was attached");
        }
        match self.begin_stop().await {
            Some(running) => self.end_of(running).await,
            None => Ok(0),
        }
    }

    /// Whether every queue has its consumer right now, and every retry and dead letter can be
    /// sent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state() == Some(ConnectionState::Attached) && self.0.shared.copier.pauses().is_empty()
    }

    /// How it stands: the connection, each queue, and what cannot be done at present.
    #[must_use]
    pub fn health(&self) -> Health {
        let shared = &self.0.shared;
        let queues: BTreeSet<&str> =
            self.0.bindings.iter().map(|binding| binding.queue.as_str()).collect();
        // The quarantine only where there is something to tell of it.
        let quarantine: Vec<&str> = shared
            .quarantines
            .queues()
            .into_iter()
            .filter(|queue| shared.in_flight.knows(queue))
            .collect();
        Health {
            connection: self.state(),
            queues: shared.in_flight.health(queues.into_iter().chain(quarantine)),
            paused: shared.copier.pauses(),
            obstacle: shared.copier.transport.obstacle(),
            refused: shared.copier.refused_count(),
        }
    }

    /// How the connection is; `None` before the first start.
    #[must_use]
    pub fn state(&self) -> Option<ConnectionState> {
        self.running().map(|running| running.state.borrow().clone())
    }

    /// What the attributes of its endpoints say, in the order in which they run. A program may
    /// check here that a crate whose endpoints it counts on is linked.
    pub fn endpoints(&self) -> impl Iterator<Item = &'static Definition> {
        self.0.shared.dispatcher.table().endpoints().iter().map(Bound::definition)
    }

    fn running(&self) -> Option<Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, running: Running) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    fn log_table(&self) {
        let shared = &self.0.shared;
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
        let bindings = self.0.bindings.iter().map(|binding| {
            format!("{}/{} to {}", binding.exchange, binding.routing_key, binding.queue)
        });
        let bindings: BTreeSet<_> = bindings.collect();
        tracing::info!(
            transport = %shared.copier.transport,
            bindings = Vec::from_iter(bindings).join(", "),
            prefetch = shared.options.prefetch,
            executor = ?shared.options.executor,
            "starting"
        );
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("transport", &self.0.shared.copier.transport)
            .field("bindings", &self.0.bindings)
            .finish_non_exhaustive()
    }
}

/// How often what is in flight is looked through for what takes long.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How often the quarantine queues are looked for that were missing: another listener may have
/// quarantined something and stopped.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(5 * 60);

/// From when on a delivery takes long: RabbitMQ takes back what is unsettled for 30 minutes, and
/// closes the channel of all others with it.
const SLOW: Duration = Duration::from_secs(24 * 60);

/// So many deliveries are taken at once.
const BATCH: usize = 256;

/// After so long without anything begun, those at work are taken to be stuck in a method that
/// blocks its thread.
const STUCK: Duration = Duration::from_millis(10);

/// Takes deliveries until it is stopped, and hands them to those who work on them.
async fn work_on(
    shared: Arc<Shared>,
    subscribed: Subscribed,
    stop: CancellationToken,
    recorded: CancellationToken,
) -> usize {
    // Nobody waits for a task that is gone.
    let _recorded = recorded.clone().drop_guard();
    let Subscribed { mut deliveries, consumer, demand } = subscribed;
    let scheduler = Scheduler::new(Arc::clone(&shared), demand, stop.clone());
    let mut state = consumer.state();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut look_again = tokio::time::interval(LOOK_AGAIN_EVERY);
    look_again.reset();
    shared.observers.tell(&Event::Attached);
    let mut batch = Vec::new();
    // Armed again only when it has gone off: to arm it may wake the thread that looks after timers.
    let mut check = pin!(tokio::time::sleep(STUCK));
    let mut begun = None;
    loop {
        if begun.is_none() {
            begun = scheduler.behind();
            if begun.is_some() {
                check.as_mut().reset(Instant::now() + STUCK);
            }
        }
        // In this order: a stop takes nothing more, and what came of an old session is known to
        // be lost before it comes again.
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = state.changed() => changed(&shared, &state.borrow_and_update().clone()),
            count = deliveries.recv_many(&mut batch, BATCH) => match count {
                // The driver has ended the subscription: held retries must not wait for more.
                0 => {
                    stop.cancel();
                    break;
                }
                _ => scheduler.take(batch.drain(..)),
            },
            () = shared.quarantined.notified() => consumer.look_again(),
            () = check.as_mut(), if begun.is_some() => scheduler.add_worker(begun.take()),
            () = scheduler.unwatched.notified() => {}
            _ = look_again.tick() => consumer.look_again(),
            _ = look.tick() => tell_slow(&shared),
        }
    }
    shutdown::Ending { consumer, deliveries, scheduler, recorded }.shut_down(&shared).await
}

fn changed(shared: &Shared, state: &ConnectionState) {
    match state {
        ConnectionState::Attached => {
            shared.quarantines.journals().for_each(Journal::attached);
            shared.observers.tell(&Event::Attached);
        }
        // What was begun is delivered again, and nobody died of it.
        ConnectionState::Lost { reason } => {
            shared.quarantines.journals().for_each(Journal::release_all);
            shared.observers.tell(&Event::Lost { reason });
        }
        ConnectionState::Closed => {}
    }
}

fn tell_slow(shared: &Shared) {
    for (queue, since) in shared.in_flight.slow(SLOW) {
        tracing::warn!(
            %queue,
            ?since,
            "a delivery is not settled yet: RabbitMQ takes back what is unsettled for its \
             consumer_timeout, 30 minutes by default, and all else of the channel with it; set a \
             shorter `handler_timeout`, or let the method return and be called again; if it was \
             not begun yet, set a smaller `prefetch`"
        );
        shared.observers.tell(&Event::Slow { queue: &queue, since });
    }
}
