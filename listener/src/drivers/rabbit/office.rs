//! The task that makes sessions for sending: when one is asked for, over all hosts, with
//! pauses, for as long as somebody waits. What a session does is `confirms.rs`; who asks for
//! one is `publish.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lapin::Channel;
use tokio::sync::{OnceCell, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Core;
use super::confirms::{self, Desk, Obstacle, put};
use super::failure::{Failure, Fault};
use super::hosts::{Address, Backoff, Rotation};
use super::link::{Link, Role};
use super::message::{Fate, Message, Need, submit_alone};
use super::options::{CLOSE_TIMEOUT, STABLE_AFTER};
use super::topology::Topology;
use super::version::Version;
use super::wire::TooLong;
use crate::transport::driver::{Outgoing, Route};
use crate::transport::error::ConnectError;

/// Whether what a message needs is there: empty while nobody has seen to it.
pub(super) type Prepared = Arc<OnceCell<Ready>>;

/// What came of seeing to it.
#[derive(Clone, Debug)]
pub(super) enum Ready {
    Declared,
    /// It could not be declared, and may not be needed: the refusal is told if no queue wants
    /// the message.
    Perhaps(ConnectError),
    /// Nothing can be held back; why. Not asked again in this session.
    NoDelay(String),
}

/// What the messages on a route need, and that it is there.
pub(super) struct Way {
    need: Need,
    pub(super) prepared: Prepared,
}

impl Way {
    pub(super) fn message(&self, outgoing: &Outgoing) -> Result<Message, TooLong> {
        Message::new(outgoing, &self.need)
    }
}

/// So many messages at once may have a channel of their own.
const ALONE: usize = 8;

/// A session for sending.
pub(super) struct SendSession {
    pub(super) generation: u64,
    link: Arc<Link>,
    desk: Desk,
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
    pub(super) async fn prepare(&self, need: &Need) -> Result<Prepared, Failure> {
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
                Err(weather) => Err(weather),
            },
        }
    }

    /// What was prepared has gone: it is declared anew for the next message, unless another
    /// has seen to that.
    pub(super) fn forget(&self, need: &Need, prepared: &Prepared) {
        let mut needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
        if needs.get(need).is_some_and(|current| Arc::ptr_eq(current, prepared)) {
            needs.remove(need);
        }
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.retain(|_, way| !Arc::ptr_eq(&way.prepared, prepared));
    }

    /// A message found no queue: whoever declares it next, it is a new one.
    pub(super) fn is_gone(&self, need: &Need) {
        match need {
            Need::Queue(queue) | Need::Quarantine(queue) => self.core.known.is_gone(queue),
            Need::Retry(queue, level) => self.core.known.is_gone(&level.queue(queue)),
            // Nobody else is waited for.
            Need::Topic { .. } | Need::Journal(_) => {}
        }
    }

    /// The most bytes of a body that the broker takes, as it has said itself.
    pub(super) fn max_size(&self) -> Option<usize> {
        self.max_size.get().copied()
    }

    pub(super) fn learn_max_size(&self, limit: usize) {
        let _ = self.max_size.set(limit);
    }

    /// Whether brokers of this version refuse such a body unless they are configured otherwise,
    /// which only a refusal tells.
    pub(super) fn may_refuse(&self, size: usize) -> bool {
        let usual = self.link.version.and_then(Version::max_message_size);
        usual.is_some_and(|usual| size > usual)
    }

    /// Publishes, in the order of these calls.
    pub(super) fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Fate> {
        self.desk.submit(message)
    }

    /// How a message on this route was sent before in this session, if one was.
    pub(super) fn way(&self, route: &Route) -> Option<Arc<Way>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).get(route).cloned()
    }

    /// Keeps for the next message what one needed that the broker has.
    pub(super) fn keep_way(&self, route: &Route, need: &Need, prepared: &Prepared) {
        // Each delay would be a route of its own.
        if matches!(route, Route::Delayed { .. }) {
            return;
        }
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.entry(route.clone()).or_insert_with(|| {
            Arc::new(Way { need: need.clone(), prepared: Arc::clone(prepared) })
        });
    }

    pub(super) async fn submit_alone(&self, message: Message) -> Fate {
        // It is never closed, and a channel too many would do no harm.
        let _turn = self.alone.acquire().await;
        submit_alone(&self.link, message).await
    }

    /// A channel of its own, for what is no message.
    pub(super) async fn channel(&self) -> Result<Channel, Fault> {
        self.link.channel().await
    }

    pub(super) fn is_open(&self) -> bool {
        self.desk.is_open()
    }

    pub(super) fn frame_max(&self) -> usize {
        self.link.frame_max()
    }

    pub(super) fn user(&self) -> &str {
        &self.link.user
    }
}

/// What is asked of the task.
enum Ask {
    Session { newer_than: u64, reply: oneshot::Sender<Result<Arc<SendSession>, ConnectError>> },
    Close(oneshot::Sender<()>),
}

/// The way to the task, which ends when this is dropped.
#[derive(Clone)]
pub(super) struct Office {
    asks: mpsc::UnboundedSender<Ask>,
    current: Current,
    obstacle: Obstacle,
}

/// The session that is handed out.
type Current = Arc<Mutex<Option<Arc<SendSession>>>>;

impl Office {
    /// Starts the task. Must be called within the driver's runtime.
    pub(super) fn open(core: Arc<Core>) -> Self {
        let (asks, receiver) = mpsc::unbounded_channel();
        let obstacle = Obstacle::default();
        let current = Current::default();
        let clerk = Clerk {
            rotation: core.rotation(),
            backoff: Backoff::new(&core.options),
            core,
            asks: receiver,
            waiting: Vec::new(),
            current: Arc::clone(&current),
            collector: None,
            since: None,
            generation: 0,
            obstacle: Arc::clone(&obstacle),
        };
        tokio::spawn(clerk.run());
        Self { asks, current, obstacle }
    }

    /// An open session, made after the one of this generation. Waits while there is none.
    pub(super) async fn session(&self, newer_than: u64) -> Result<Arc<SendSession>, ConnectError> {
        let (reply, answer) = oneshot::channel();
        let ended = || ConnectError::Local {
            action: "send".to_owned(),
            reason: "the driver's task has ended".to_owned(),
        };
        self.asks.send(Ask::Session { newer_than, reply }).map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The session that stands now, if one does: without a word to the task.
    pub(super) fn current(&self) -> Option<Arc<SendSession>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.filter(|session| session.is_open())
    }

    /// What stands in the way now.
    pub(super) fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the session.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.asks.send(Ask::Close(reply)).is_ok() {
            let _ = closed.await;
        }
    }
}

struct Clerk {
    core: Arc<Core>,
    asks: mpsc::UnboundedReceiver<Ask>,
    waiting: Vec<oneshot::Sender<Result<Arc<SendSession>, ConnectError>>>,
    current: Current,
    /// The task of the current session.
    collector: Option<JoinHandle<()>>,
    /// When the last session was made.
    since: Option<Instant>,
    rotation: Rotation,
    backoff: Backoff,
    generation: u64,
    obstacle: Obstacle,
}

impl Clerk {
    async fn run(mut self) {
        while let Some(ask) = self.asks.recv().await {
            match ask {
                Ask::Session { newer_than, reply } => {
                    let current = self.current().clone();
                    match current.filter(|session| session.is_open()) {
                        Some(session) if session.generation > newer_than => {
                            let _ = reply.send(Ok(session));
                        }
                        _ => {
                            self.waiting.push(reply);
                            self.connect().await;
                        }
                    }
                }
                Ask::Close(done) => {
                    self.close().await;
                    let _ = done.send(());
                }
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<SendSession>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session closes when the last one who sends lets go of it.
    async fn close(&mut self) {
        *self.current() = None;
        if let Some(collector) = self.collector.take() {
            // Its own deadlines are shorter; it is waited for no longer if a send goes on.
            let _ = timeout(2 * CLOSE_TIMEOUT, collector).await;
        }
    }

    /// Makes a session for those who wait, until none waits any more.
    async fn connect(&mut self) {
        // One that was closed on purpose says nothing of the broker.
        let lost = self.current().take();
        let lost = lost.and_then(|_| self.since.take());
        let mut told = String::new();
        match lost.map(|since| since.elapsed()) {
            Some(age) if age < STABLE_AFTER => {
                let pause = self.backoff.pause();
                if !self.pause(pause).await {
                    return;
                }
            }
            Some(_) => self.backoff.reset(),
            None => {}
        }
        loop {
            let result = self.round().await;
            self.gather();
            match result {
                Ok(session) => {
                    put(&self.obstacle, None);
                    self.since = Some(Instant::now());
                    for reply in self.waiting.drain(..) {
                        let _ = reply.send(Ok(Arc::clone(&session)));
                    }
                    *self.current() = Some(session);
                    return;
                }
                Err(Failure::Mistake(error)) => {
                    for reply in self.waiting.drain(..) {
                        let _ = reply.send(Err(error.clone()));
                    }
                    return;
                }
                Err(Failure::Weather(reason)) => {
                    let pause = self.backoff.pause();
                    if told != reason {
                        tracing::warn!(reason, ?pause, "cannot reach RabbitMQ to send");
                        told.clone_from(&reason);
                    }
                    put(&self.obstacle, Some(reason));
                    if !self.pause(pause).await {
                        return;
                    }
                }
            }
        }
    }

    /// Whether somebody still waits after a pause.
    async fn pause(&mut self, pause: Duration) -> bool {
        let mut over = std::pin::pin!(sleep(pause));
        loop {
            self.waiting.retain(|reply| !reply.is_closed());
            tokio::select! {
                biased;
                () = &mut over => return !self.waiting.is_empty(),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.queue(ask),
                    None => return false,
                },
            }
        }
    }

    /// Those who have asked since.
    fn gather(&mut self) {
        while let Ok(ask) = self.asks.try_recv() {
            self.queue(ask);
        }
    }

    /// While there is no session.
    fn queue(&mut self, ask: Ask) {
        match ask {
            Ask::Session { reply, .. } => self.waiting.push(reply),
            Ask::Close(done) => {
                let _ = done.send(());
            }
        }
    }

    async fn round(&mut self) -> Result<Arc<SendSession>, Failure> {
        let mut last = Failure::Weather("no host".to_owned());
        let hosts = self.rotation.round();
        let count = hosts.len();
        for address in hosts {
            match self.session(&address).await.map_err(|failure| failure.among(count)) {
                Ok(session) => return Ok(Arc::new(session)),
                Err(Failure::Weather(reason)) => {
                    self.rotation.tried(&address);
                    last = Failure::Weather(format!("{address}: {reason}"));
                }
                Err(mistake) => return Err(mistake),
            }
        }
        Err(last)
    }

    async fn session(&mut self, address: &Address) -> Result<SendSession, Failure> {
        let core = &self.core;
        let (link, events) = Link::open(&core.options, &core.vhost, address, Role::Send).await?;
        let link = Arc::new(link);
        let obstacle = Arc::clone(&self.obstacle);
        let (desk, collector) =
            confirms::start(Arc::clone(core), Arc::clone(&link), events, obstacle).await?;
        self.collector = Some(collector);
        if self.generation > 0 {
            core.known.connected_again();
        }
        self.generation += 1;
        tracing::info!(host = %address, generation = self.generation, "connected to RabbitMQ to send");
        Ok(SendSession {
            generation: self.generation,
            link,
            desk,
            needs: Mutex::default(),
            ways: Mutex::default(),
            max_size: OnceLock::new(),
            alone: Semaphore::new(ALONE),
            core: Arc::clone(core),
        })
    }
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
        let office = runtime().block_on(async { Office::open(core) });
        let Err(error) = runtime().block_on(office.session(0)) else { panic!("a session") };
        let error = SendError::from(error);
        assert!(error.is_transient() && !error.to_string().contains("broker"), "{error}");
    }
}
