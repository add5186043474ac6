//! A connection that publishes: a task that connects when a session is requested, over all hosts, with
//! pauses, as long as a request waits. What a session does is in `confirms.rs`; `publish.rs` and
//! `journal.rs` request one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lapin::Channel;
use tokio::sync::{OnceCell, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::confirms::{self, Obstacle, Submitter, put};
use super::message::{Fate, Message, Need, submit_alone};
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::connection::hosts::{Address, Backoff, Rotation, share};
use crate::drivers::rabbit::connection::link::{Link, Purpose, Role};
use crate::drivers::rabbit::connection::refusal::{Failure, Fault};
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::options::STABLE_AFTER;
use crate::drivers::rabbit::topology::Topology;
use crate::drivers::rabbit::wire::TooLong;
use crate::transport::driver::{Outgoing, Route};
use crate::transport::error::ConnectError;

/// Whether what a message needs is there: empty while nobody has seen to it.
pub(crate) type Prepared = Arc<OnceCell<Ready>>;

/// What came of seeing to it.
#[derive(Clone, Debug)]
pub(crate) enum Ready {
    Declared,
    /// It could not be declared, and may not be needed: the refusal is told if no queue wants
    /// the message.
    Perhaps(ConnectError),
    /// Nothing can be held back; why. Not asked again in this session.
    NoDelay(String),
}

/// What the messages on a route need, and that it is there.
pub(crate) struct Way {
    need: Need,
    pub(crate) prepared: Prepared,
}

impl Way {
    pub(crate) fn message(&self, outgoing: &Outgoing) -> Result<Message, TooLong> {
        Message::new(outgoing, &self.need)
    }
}

/// The number of messages that may use a channel of their own at once.
const ALONE: usize = 8;

/// A session for publishing.
pub(crate) struct SendSession {
    pub(crate) generation: u64,
    link: Arc<Link>,
    submitter: Submitter,
    /// What has been seen to in this session.
    needs: Mutex<HashMap<Need, Prepared>>,
    /// How messages were sent on the routes that need nothing more.
    ways: Mutex<HashMap<Route, Arc<Way>>>,
    /// The most bytes that the broker takes, once it has refused some.
    max_size: OnceLock<usize>,
    /// Those that send over channels of their own: a few at once.
    alone: Semaphore,
    core: Arc<Core>,
}

impl SendSession {
    /// Declares what a message needs, once for each session; others that want the same wait.
    pub(crate) async fn prepare(&self, need: &Need) -> Result<Prepared, Failure> {
        let prepared = {
            let mut needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(needs.entry(need.clone()).or_default())
        };
        prepared.get_or_try_init(|| self.declare(need)).await?;
        Ok(prepared)
    }

    async fn declare(&self, need: &Need) -> Result<Ready, Failure> {
        let mut topology = Topology::new(&self.link, &self.core);
        match need {
            Need::Topic { exchange, routing_key } => topology
                .topic(exchange, routing_key)
                .await
                .map(|refusal| refusal.map_or(Ready::Declared, Ready::Perhaps)),
            Need::Queue(queue) => topology.straight(queue).await.map(|()| Ready::Declared),
            Need::Quarantine(queue) => topology.quarantine(queue).await.map(|()| Ready::Declared),
            Need::Journal(journal) => topology.journal(journal).await.map(|()| Ready::Declared),
            Need::Retry(queue, level) => match topology.delayed(queue, *level).await {
                Ok(()) => Ok(Ready::Declared),
                Err(Failure::Mistake(error)) => {
                    let reason = error.to_string();
                    tracing::warn!(queue, reason, "no message can be held back in a retry queue");
                    Ok(Ready::NoDelay(reason))
                }
                Err(transient) => Err(transient),
            },
        }
    }

    /// What was prepared has gone: it is declared anew for the next message, unless another
    /// has seen to that.
    pub(crate) fn forget(&self, need: &Need, prepared: &Prepared) {
        let mut needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
        if needs.get(need).is_some_and(|current| Arc::ptr_eq(current, prepared)) {
            needs.remove(need);
        }
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.retain(|_, way| !Arc::ptr_eq(&way.prepared, prepared));
    }

    /// A message found no queue: whoever declares it next, it is a new one.
    pub(crate) fn is_gone(&self, need: &Need) {
        match need {
            Need::Queue(queue) | Need::Quarantine(queue) => self.core.known.is_gone(queue),
            Need::Retry(queue, level) => self.core.known.is_gone(&level.queue(queue)),
            // Nobody else is waited for.
            Need::Topic { .. } | Need::Journal(_) => {}
        }
    }

    /// The most bytes of a body that the broker takes, as it has said itself.
    pub(crate) fn max_size(&self) -> Option<usize> {
        self.max_size.get().copied()
    }

    pub(crate) fn learn_max_size(&self, limit: usize) {
        let _ = self.max_size.set(limit);
    }

    /// Whether brokers of this version refuse such a body unless they are configured otherwise,
    /// which only a refusal tells.
    pub(crate) fn may_refuse(&self, size: usize) -> bool {
        let usual = self.link.version.and_then(Version::max_message_size);
        usual.is_some_and(|usual| size > usual)
    }

    /// Publishes, in the order of these calls.
    pub(crate) fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Fate> {
        self.submitter.submit(message)
    }

    /// How a message on this route was sent before in this session, if one was.
    pub(crate) fn way(&self, route: &Route) -> Option<Arc<Way>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).get(route).cloned()
    }

    /// Keeps for the next message what one needed that the broker has.
    pub(crate) fn keep_way(&self, route: &Route, need: &Need, prepared: &Prepared) {
        // Each delay would be a route of its own.
        if matches!(route, Route::Delayed { .. }) {
            return;
        }
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.entry(route.clone()).or_insert_with(|| {
            Arc::new(Way { need: need.clone(), prepared: Arc::clone(prepared) })
        });
    }

    pub(crate) async fn submit_alone(&self, message: Message) -> Fate {
        // It is never closed, and a channel too many would do no harm.
        let _turn = self.alone.acquire().await;
        submit_alone(&self.link, message).await
    }

    /// A channel of its own, for what is no message.
    pub(crate) async fn channel(&self) -> Result<Channel, Fault> {
        self.link.channel().await
    }

    pub(crate) fn is_open(&self) -> bool {
        self.submitter.is_open()
    }

    fn ended_by(&self) -> Option<&Fault> {
        self.submitter.ended_by()
    }

    pub(crate) fn frame_max(&self) -> usize {
        self.link.frame_max()
    }

    pub(crate) fn user(&self) -> &str {
        &self.link.user
    }
}

type Reply = oneshot::Sender<Result<Arc<SendSession>, ConnectError>>;

/// A request to the task.
enum Request {
    Session {
        newer_than: u64,
        until: Instant,
        reply: Reply,
    },
    /// How long to wait for the session to close.
    Close {
        limit: Duration,
        done: oneshot::Sender<()>,
    },
}

/// A handle to the task, which ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Publisher {
    requests: mpsc::UnboundedSender<Request>,
    current: Current,
    obstacle: Obstacle,
}

/// The current session.
type Current = Arc<Mutex<Option<Arc<SendSession>>>>;

impl Publisher {
    /// Starts the task. Must be called within the driver's runtime.
    pub(crate) fn open(core: Arc<Core>, purpose: Purpose) -> Self {
        let (publisher, task) = Self::with_task(core, purpose);
        tokio::spawn(task.run());
        publisher
    }

    fn with_task(core: Arc<Core>, purpose: Purpose) -> (Self, PublisherTask) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let obstacle = Obstacle::default();
        let current = Current::default();
        let task = PublisherTask {
            rotation: core.rotation(),
            backoff: Backoff::new(&core.options),
            core,
            purpose,
            requests: receiver,
            waiting: Vec::new(),
            current: Arc::clone(&current),
            collector: None,
            since: None,
            generation: 0,
            obstacle: Arc::clone(&obstacle),
            told: String::new(),
        };
        (Self { requests, current, obstacle }, task)
    }

    /// An open session, made after the one of this generation. Waits while there is none; `until`
    /// is when the caller gives up.
    pub(crate) async fn session(
        &self,
        newer_than: u64,
        until: Instant,
    ) -> Result<Arc<SendSession>, ConnectError> {
        let (reply, answer) = oneshot::channel();
        let ended = || ConnectError::Local {
            action: "publish".to_owned(),
            reason: "the driver's task has ended".to_owned(),
        };
        self.requests.send(Request::Session { newer_than, until, reply }).map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The current session if it is open, without a request to the task.
    pub(crate) fn current(&self) -> Option<Arc<SendSession>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.filter(|session| session.is_open())
    }

    /// What currently keeps messages from being sent.
    pub(crate) fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the session, waiting for it no longer than this.
    pub(crate) async fn close(&self, limit: Duration) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close { limit, done }).is_ok() {
            let _ = closed.await;
        }
    }
}

#[cfg(test)]
impl Publisher {
    /// One that makes no session, and whether it was closed.
    pub(crate) fn without_broker() -> (Self, Arc<std::sync::atomic::AtomicBool>) {
        let (requests, mut receiver) = mpsc::unbounded_channel();
        let is_closed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        tokio::spawn(async move {
            while let Some(request) = receiver.recv().await {
                if let Request::Close { done, .. } = request {
                    closed.store(true, std::sync::atomic::Ordering::Relaxed);
                    let _ = done.send(());
                }
            }
        });
        (Self { requests, current: Current::default(), obstacle: Obstacle::default() }, is_closed)
    }
}

/// A request for a session that waits.
struct Waiter {
    reply: Reply,
    until: Instant,
}

struct PublisherTask {
    core: Arc<Core>,
    purpose: Purpose,
    requests: mpsc::UnboundedReceiver<Request>,
    waiting: Vec<Waiter>,
    current: Current,
    /// The task of the current session.
    collector: Option<JoinHandle<()>>,
    /// When the last session was made.
    since: Option<Instant>,
    rotation: Rotation,
    backoff: Backoff,
    generation: u64,
    obstacle: Obstacle,
    /// Why it could not connect, as the log has it already; empty once it could.
    told: String,
}

impl PublisherTask {
    async fn run(mut self) {
        while let Some(request) = self.next().await {
            match request {
                Request::Session { newer_than, until, reply } => {
                    let current = self.current().clone();
                    match current.filter(|session| session.is_open()) {
                        Some(session) if session.generation > newer_than => {
                            let _ = reply.send(Ok(session));
                        }
                        _ => {
                            self.waiting.push(Waiter { reply, until });
                            self.connect().await;
                        }
                    }
                }
                Request::Close { limit, done } => {
                    self.close(limit).await;
                    let _ = done.send(());
                }
            }
        }
    }

    async fn next(&mut self) -> Option<Request> {
        let Some(idle) = self.purpose.idle().filter(|_| self.collector.is_some()) else {
            return self.requests.recv().await;
        };
        if let Ok(request) = timeout(idle, self.requests.recv()).await {
            return request;
        }
        // Its own deadline ends it.
        drop(self.let_go());
        self.requests.recv().await
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<SendSession>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session closes when the last one who publishes lets go of it; the task that does it.
    fn let_go(&mut self) -> Option<JoinHandle<()>> {
        *self.current() = None;
        if self.since.take().is_some_and(|since| since.elapsed() >= STABLE_AFTER) {
            self.backoff.reset();
        }
        self.collector.take()
    }

    async fn close(&mut self, limit: Duration) {
        if let Some(collector) = self.let_go() {
            // Its own deadline is the same; it is waited for no longer if a send goes on.
            let _ = timeout(limit, collector).await;
        }
    }

    /// Makes a session for those who wait, until none waits any more.
    async fn connect(&mut self) {
        if !self.connected().await {
            // Nobody looks any more whether it is still in the way.
            put(&self.obstacle, None);
        }
    }

    /// Whether there is a session now.
    async fn connected(&mut self) -> bool {
        // One that was closed on purpose says nothing of the broker.
        let lost = self.current().take();
        if let Some(fault) = lost.as_ref().and_then(|session| session.ended_by()) {
            put(&self.obstacle, Some(format!("the connection was lost: {fault}")));
        }
        match lost.and_then(|_| self.since.take()).map(|since| since.elapsed()) {
            Some(age) if age < STABLE_AFTER => {
                let pause = self.backoff.pause();
                if !self.pause(pause).await {
                    return false;
                }
            }
            Some(_) => self.backoff.reset(),
            None => {}
        }
        // Later rounds take the time that they need.
        let mut until = self.waiting.iter().map(|waiter| waiter.until).max();
        loop {
            let Some(result) = self.round(until.take()).await else { return false };
            match result {
                // Requests that arrived meanwhile stay queued for `run`, which can close this session.
                Ok(session) => {
                    put(&self.obstacle, None);
                    self.told.clear();
                    self.since = Some(Instant::now());
                    for Waiter { reply, .. } in self.waiting.drain(..) {
                        let _ = reply.send(Ok(Arc::clone(&session)));
                    }
                    *self.current() = Some(session);
                    return true;
                }
                Err(Failure::Mistake(error)) => {
                    self.gather();
                    for Waiter { reply, .. } in self.waiting.drain(..) {
                        let _ = reply.send(Err(error.clone()));
                    }
                    return false;
                }
                Err(Failure::Transient { reason, .. }) => {
                    let pause = self.backoff.pause();
                    if self.told != reason {
                        let purpose = self.purpose.name();
                        tracing::warn!(reason, ?pause, purpose, "cannot reach RabbitMQ to publish");
                        self.told.clone_from(&reason);
                    }
                    put(&self.obstacle, Some(reason));
                    if !self.pause(pause).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Whether somebody still waits after a pause.
    async fn pause(&mut self, pause: Duration) -> bool {
        let mut over = std::pin::pin!(sleep(pause));
        loop {
            self.waiting.retain(|waiter| !waiter.reply.is_closed());
            tokio::select! {
                biased;
                () = &mut over => return !self.waiting.is_empty(),
                request = self.requests.recv() => match request {
                    Some(request) => self.queue(request),
                    None => return false,
                },
            }
        }
    }

    /// Those who have asked since.
    fn gather(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.queue(request);
        }
    }

    /// While there is no session.
    fn queue(&mut self, request: Request) {
        match request {
            Request::Session { reply, until, .. } => self.waiting.push(Waiter { reply, until }),
            Request::Close { done, .. } => {
                let _ = done.send(());
            }
        }
    }

    /// One round of all hosts; none if nobody waits for a session any more and it is to be closed.
    async fn round(&mut self, until: Option<Instant>) -> Option<Result<Arc<SendSession>, Failure>> {
        let generation = self.generation + 1;
        let made = {
            let round = round(
                (&self.core, self.purpose),
                &mut self.rotation,
                generation,
                until,
                &self.obstacle,
            );
            let mut round = std::pin::pin!(round);
            loop {
                tokio::select! {
                    biased;
                    made = &mut round => break made,
                    request = self.requests.recv() => match request {
                        Some(Request::Session { reply, until, .. }) => {
                            self.waiting.push(Waiter { reply, until });
                        }
                        Some(Request::Close { done, .. }) => {
                            let _ = done.send(());
                            self.waiting.retain(|waiter| !waiter.reply.is_closed());
                            if self.waiting.is_empty() {
                                return None;
                            }
                        }
                        None => return None,
                    },
                }
            }
        };
        Some(made.map(|(session, collector)| {
            self.collector = Some(collector);
            self.generation = generation;
            Arc::new(session)
        }))
    }
}

/// Tries each host once. One that refuses says nothing of the others: it is a mistake only if all
/// refuse.
async fn round(
    (core, purpose): (&Arc<Core>, Purpose),
    rotation: &mut Rotation,
    generation: u64,
    until: Option<Instant>,
    obstacle: &Obstacle,
) -> Result<(SendSession, JoinHandle<()>), Failure> {
    let (mut transient, mut mistake) = (None, None);
    let hosts = rotation.round();
    let count = hosts.len();
    for (tried, address) in hosts.iter().enumerate() {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = share(core.options.connection_timeout, left, count - tried);
        let made = session((core, purpose), address, generation, limit, obstacle).await;
        let failure = match made {
            Ok(made) => return Ok(made),
            Err(failure) => failure.among(count),
        };
        rotation.tried(address);
        match failure {
            Failure::Transient { reason, .. } => {
                transient = Some(format!("{address}: {reason}"));
            }
            Failure::Mistake(error) => drop(mistake.get_or_insert(error)),
        }
    }
    Err(match (transient, mistake) {
        (Some(reason), Some(error)) => Failure::transient(format!("{reason}; {error}")),
        (None, Some(error)) => Failure::Mistake(error),
        (transient, None) => Failure::transient(transient.unwrap_or_else(|| "no host".to_owned())),
    })
}

async fn session(
    (core, purpose): (&Arc<Core>, Purpose),
    address: &Address,
    generation: u64,
    limit: Duration,
    obstacle: &Obstacle,
) -> Result<(SendSession, JoinHandle<()>), Failure> {
    let role = Role::Publish(purpose);
    let opened = Link::open(&core.options, &core.vhost, address, role, limit).await;
    let (link, events) = opened?;
    let link = Arc::new(link);
    let started = confirms::start(Arc::clone(core), Arc::clone(&link), events, purpose, obstacle);
    let (submitter, collector) = started.await?;
    // What it clears is known of queues that copies are put into, and not of journals.
    if generation > 1 && matches!(purpose, Purpose::Send) {
        core.known.connected_again();
    }
    match purpose {
        Purpose::Send => {
            tracing::info!(host = %address, generation, "connected to RabbitMQ to send");
        }
        Purpose::Journal => {
            tracing::debug!(host = %address, generation, "connected to RabbitMQ for a journal");
        }
    }
    let session = SendSession {
        generation,
        link,
        submitter,
        needs: Mutex::default(),
        ways: Mutex::default(),
        max_size: OnceLock::new(),
        alone: Semaphore::new(ALONE),
        core: Arc::clone(core),
    };
    Ok((session, collector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::rabbit::Rabbit;
    use crate::transport::error::SendError;

    #[test]
    fn a_driver_that_has_ended_does_not_speak_for_the_broker() {
        let url = "rabbit://guest:guest@127.0.0.1:1/".parse().expect("a URL");
        let core = Rabbit::new(&url).expect("a driver").core;
        let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let publisher = runtime().block_on(async { Publisher::open(core, Purpose::Send) });
        let Err(error) = runtime().block_on(publisher.session(0, Instant::now())) else {
            panic!("a session")
        };
        let error = SendError::from(error);
        assert!(error.is_transient() && !error.to_string().contains("broker"), "{error}");
    }

    #[tokio::test]
    async fn what_the_log_has_already_outlives_those_who_waited() {
        let url = "rabbit://127.0.0.1:1/".parse().expect("a URL");
        let core = Rabbit::new(&url).expect("a driver").core;
        let (_publisher, mut task) = Publisher::with_task(core, Purpose::Send);
        let (reply, answer) = oneshot::channel();
        task.waiting.push(Waiter { reply, until: Instant::now() });
        drop(answer);
        task.connect().await;
        assert!(task.told.contains("127.0.0.1:1"), "{:?}", task.told);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_closed_after_it_had_stood_ends_the_pauses() {
        let url = "rabbit://127.0.0.1:1/".parse().expect("a URL");
        let core = Rabbit::new(&url).expect("a driver").core;
        let (_publisher, mut task) = Publisher::with_task(core, Purpose::Journal);
        let first = task.backoff.ceiling();
        for _ in 0..9 {
            task.backoff.pause();
        }
        assert!(task.backoff.ceiling() > first);
        for (age, is_reset) in [(STABLE_AFTER / 2, false), (STABLE_AFTER, true)] {
            task.since = Some(Instant::now());
            tokio::time::advance(age).await;
            task.let_go();
            assert_eq!(task.backoff.ceiling() == first, is_reset, "{age:?}");
        }
    }
}
