//! A connection that publishes: a task that connects while a request for a session waits, over all
//! hosts, with delays. `session.rs` has what a session does; `publish.rs` and `journal.rs` request one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::confirms::{Obstacle, set_obstacle};
use super::session::{PublishSession, SessionId};
use crate::drivers::rabbit::connection::failure::Failure;
use crate::drivers::rabbit::connection::link::ConnectionPurpose;
use crate::drivers::rabbit::connection::reconnect::{Reconnect, Round};
use crate::drivers::rabbit::core::Core;
use crate::transport::error::ConnectError;

type Reply = oneshot::Sender<Result<Arc<PublishSession>, ConnectError>>;

/// A request to the task.
enum SessionRequest {
    Open {
        newer_than: u64,
        until: Instant,
        retries: Retries,
        reply: Reply,
    },
    /// Closes the session, and waits for it no longer than this.
    Close {
        limit: Duration,
        done: oneshot::Sender<()>,
    },
}

/// A handle to the task, which ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Publisher {
    requests: mpsc::UnboundedSender<SessionRequest>,
    current: Current,
    blocked: Obstacle,
}

/// The current session.
type Current = Arc<Mutex<Option<Arc<PublishSession>>>>;

impl Publisher {
    /// Starts the task. Must be called within the driver's runtime.
    pub(crate) fn open(core: Arc<Core>, purpose: ConnectionPurpose) -> Self {
        let (publisher, task) = Self::with_task(core, purpose);
        tokio::spawn(task.run());
        publisher
    }

    fn with_task(core: Arc<Core>, purpose: ConnectionPurpose) -> (Self, PublisherTask) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let blocked = Obstacle::default();
        let current = Current::default();
        let task = PublisherTask {
            reconnect: Reconnect::new(&core),
            core,
            purpose,
            requests: receiver,
            waiting: Vec::new(),
            current: Arc::clone(&current),
            open: None,
            generation: 0,
            blocked: Arc::clone(&blocked),
        };
        (Self { requests, current, blocked }, task)
    }

    /// An open session with a generation above this one. Waits while there is none; `until`: when the
    /// caller gives up. [`ConnectError::Unreachable`]: there were no more retries.
    pub(crate) async fn session(
        &self,
        newer_than: u64,
        until: Instant,
        retries: &Retries,
    ) -> Result<Arc<PublishSession>, ConnectError> {
        let (reply, answer) = oneshot::channel();
        let ended = || ConnectError::Local {
            action: "publish".to_owned(),
            reason: "the driver's task has ended".to_owned(),
        };
        self.requests
            .send(SessionRequest::Open { newer_than, until, retries: retries.clone(), reply })
            .map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The current session if it is open, without a request to the task.
    pub(crate) fn current(&self) -> Option<Arc<PublishSession>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.filter(|session| session.is_open())
    }

    /// What prevents sending at present.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the session, waiting for it no longer than this.
    pub(crate) async fn close(&self, limit: Duration) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(SessionRequest::Close { limit, done }).is_ok() {
            let _ = closed.await;
        }
    }
}

#[cfg(test)]
impl Publisher {
    /// A publisher that makes no session, and whether it was closed.
    pub(crate) fn without_broker() -> (Self, Arc<std::sync::atomic::AtomicBool>) {
        let (requests, mut receiver) = mpsc::unbounded_channel();
        let is_closed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        tokio::spawn(async move {
            while let Some(request) = receiver.recv().await {
                if let SessionRequest::Close { done, .. } = request {
                    closed.store(true, Ordering::Relaxed);
                    let _ = done.send(());
                }
            }
        });
        (Self { requests, current: Current::default(), blocked: Obstacle::default() }, is_closed)
    }
}

/// How many more attempts a caller allows, for its publications and for connections together; by
/// default any number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retries(Option<Arc<AtomicU32>>);

impl Retries {
    pub(crate) fn new(limit: Option<u32>) -> Self {
        Self(limit.map(|limit| Arc::new(AtomicU32::new(limit))))
    }

    /// Takes a retry. Whether there was one.
    pub(crate) fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        let Some(left) = &self.0 else { return true };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// A caller that waits for a session.
struct Waiter {
    reply: Reply,
    since: Instant,
    until: Instant,
    retries: Retries,
}

impl Waiter {
    fn new(reply: Reply, until: Instant, retries: Retries) -> Self {
        Self { reply, since: Instant::now(), until, retries }
    }

    /// After an attempt that failed: the caller, unless it allows no other.
    fn retried(self, reason: &str) -> Option<Self> {
        if self.retries.take() {
            return Some(self);
        }
        let (after, attempts) = (self.since.elapsed(), reason.to_owned());
        let _ = self.reply.send(Err(ConnectError::Unreachable { after, attempts }));
        None
    }
}

/// What belongs to the current session.
struct OpenSession {
    /// The task that collects confirms. It ends when the session is lost or closed.
    confirms: JoinHandle<()>,
    since: Instant,
}

struct PublisherTask {
    core: Arc<Core>,
    purpose: ConnectionPurpose,
    requests: mpsc::UnboundedReceiver<SessionRequest>,
    waiting: Vec<Waiter>,
    current: Current,
    /// The current session, until it is detached or replaced.
    open: Option<OpenSession>,
    reconnect: Reconnect,
    generation: u64,
    blocked: Obstacle,
}

impl PublisherTask {
    async fn run(mut self) {
        while let Some(request) = self.next().await {
            match request {
                SessionRequest::Open { newer_than, until, retries, reply } => {
                    let current = self.current().clone();
                    match current.filter(|session| session.is_open()) {
                        Some(session) if session.generation > newer_than => {
                            let _ = reply.send(Ok(session));
                        }
                        _ => {
                            self.waiting.push(Waiter::new(reply, until, retries));
                            self.connect().await;
                        }
                    }
                }
                SessionRequest::Close { limit, done } => {
                    self.close(limit).await;
                    let _ = done.send(());
                }
            }
        }
    }

    async fn next(&mut self) -> Option<SessionRequest> {
        let Some(idle) = self.purpose.idle().filter(|_| self.open.is_some()) else {
            return self.requests.recv().await;
        };
        if let Ok(request) = timeout(idle, self.requests.recv()).await {
            return request;
        }
        // The session closes within its own deadline.
        drop(self.detach());
        self.requests.recv().await
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<PublishSession>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Detaches the session, which closes when its last user has dropped it. Returns the task that closes
    /// it.
    fn detach(&mut self) -> Option<JoinHandle<()>> {
        *self.current() = None;
        let OpenSession { confirms, since } = self.open.take()?;
        self.reconnect.ended(since.elapsed());
        Some(confirms)
    }

    async fn close(&mut self, limit: Duration) {
        if let Some(confirms) = self.detach() {
            // It has the same deadline of its own, but a send that goes on may keep it open for longer.
            let _ = timeout(limit, confirms).await;
        }
    }

    /// Makes a session for the callers that wait, for as long as one waits.
    async fn connect(&mut self) {
        if !self.connect_for_waiters().await {
            // Nothing would clear it without further attempts.
            set_obstacle(&self.blocked, None);
        }
    }

    /// As `connect`. Returns whether there is a session now.
    async fn connect_for_waiters(&mut self) -> bool {
        // A session that was closed on purpose has been detached.
        let lost = self.current().take();
        if let Some(fault) = lost.as_ref().and_then(|session| session.fault()) {
            let reason = format!("the connection was lost: {fault}");
            set_obstacle(&self.blocked, Some(reason));
        }
        drop(lost);
        if let Some(open) = self.open.take()
            && !self.reconnect.ended(open.since.elapsed())
        {
            let delay = self.reconnect.delay();
            if !self.delay(delay).await {
                return false;
            }
        }
        // Only the first round has a deadline.
        let mut until = self.waiting.iter().map(|waiter| waiter.until).max();
        loop {
            let Some(result) = self.round(until.take()).await else { return false };
            match result {
                // Requests that arrived meanwhile stay queued for `run`, which can close this session.
                Ok(session) => {
                    set_obstacle(&self.blocked, None);
                    self.reconnect.connected();
                    for Waiter { reply, .. } in self.waiting.drain(..) {
                        let _ = reply.send(Ok(Arc::clone(&session)));
                    }
                    *self.current() = Some(session);
                    return true;
                }
                Err(Failure::Permanent(error)) => {
                    self.gather();
                    for Waiter { reply, .. } in self.waiting.drain(..) {
                        let _ = reply.send(Err(error.clone()));
                    }
                    return false;
                }
                Err(Failure::Transient { reason, .. }) => {
                    let delay = self.reconnect.delay();
                    if self.reconnect.record_reason(&reason) {
                        let purpose = self.purpose.name();
                        tracing::warn!(reason, ?delay, purpose, "cannot reach RabbitMQ to publish");
                    }
                    let waiting = std::mem::take(&mut self.waiting).into_iter();
                    self.waiting = waiting.filter_map(|waiter| waiter.retried(&reason)).collect();
                    set_obstacle(&self.blocked, Some(reason));
                    if !self.delay(delay).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Delays. Whether a caller still waits.
    async fn delay(&mut self, delay: Duration) -> bool {
        let mut over = std::pin::pin!(sleep(delay));
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

    /// Takes the requests that have arrived meanwhile.
    fn gather(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.queue(request);
        }
    }

    /// Takes a request while there is no session.
    fn queue(&mut self, request: SessionRequest) {
        match request {
            SessionRequest::Open { reply, until, retries, .. } => {
                self.waiting.push(Waiter::new(reply, until, retries));
            }
            SessionRequest::Close { done, .. } => {
                let _ = done.send(());
            }
        }
    }

    /// One round over all hosts; none if it was closed meanwhile and no caller waits.
    async fn round(
        &mut self,
        until: Option<Instant>,
    ) -> Option<Result<Arc<PublishSession>, Failure>> {
        let generation = self.generation + 1;
        let made = {
            let id = SessionId { generation, purpose: self.purpose };
            let round = round(&self.core, id, self.reconnect.round(until), &self.blocked);
            let mut round = std::pin::pin!(round);
            loop {
                tokio::select! {
                    biased;
                    made = &mut round => break made,
                    request = self.requests.recv() => match request {
                        Some(SessionRequest::Open { reply, until, retries, .. }) => {
                            self.waiting.push(Waiter::new(reply, until, retries));
                        }
                        Some(SessionRequest::Close { done, .. }) => {
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
        Some(made.map(|(session, confirms)| {
            self.open = Some(OpenSession { confirms, since: Instant::now() });
            self.generation = generation;
            Arc::new(session)
        }))
    }
}

/// Tries each host once. A host that refuses says nothing about the others: the failure is permanent
/// only if all refuse.
async fn round(
    core: &Arc<Core>,
    id: SessionId,
    mut round: Round<'_>,
    blocked: &Obstacle,
) -> Result<(PublishSession, JoinHandle<()>), Failure> {
    let (mut transient, mut permanent) = (None, None);
    while let Some(host) = round.next() {
        match PublishSession::open(core, id, &host, blocked).await {
            Ok(made) => return Ok(made),
            Err(failure) => match round.failed(&host.address, failure) {
                Failure::Transient { reason, .. } => transient = Some(reason),
                Failure::Permanent(error) => drop(permanent.get_or_insert(error)),
            },
        }
    }
    Err(match (transient, permanent) {
        (Some(reason), Some(error)) => Failure::transient(format!("{reason}; {error}")),
        (None, Some(error)) => Failure::Permanent(error),
        (transient, None) => Failure::transient(transient.unwrap_or_else(|| "no host".to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::rabbit::options::{RabbitOptions, STABLE_AFTER};
    use crate::transport::error::SendError;

    #[test]
    fn an_error_of_an_ended_driver_is_not_attributed_to_the_broker() {
        let url = "rabbit://guest:guest@127.0.0.1:1/".parse().expect("a URL");
        let core = Arc::new(Core::new(&url, RabbitOptions::default()));
        let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let publisher =
            runtime().block_on(async { Publisher::open(core, ConnectionPurpose::Send) });
        let Err(error) =
            runtime().block_on(publisher.session(0, Instant::now(), &Retries::default()))
        else {
            panic!("a session")
        };
        let error = SendError::from(error);
        assert!(error.is_transient() && !error.to_string().contains("broker"), "{error}");
    }

    #[tokio::test]
    async fn the_reported_reason_outlives_the_callers_that_waited() {
        let url = "rabbit://127.0.0.1:1/".parse().expect("a URL");
        let core = Arc::new(Core::new(&url, RabbitOptions::default()));
        let (_publisher, mut task) = Publisher::with_task(core, ConnectionPurpose::Send);
        let (reply, answer) = oneshot::channel();
        task.waiting.push(Waiter::new(reply, Instant::now(), Retries::default()));
        drop(answer);
        task.connect().await;
        let reported = task.reconnect.reported();
        assert!(reported.contains("127.0.0.1:1"), "{reported:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn closing_a_stable_connection_resets_the_backoff() {
        let url = "rabbit://127.0.0.1:1/".parse().expect("a URL");
        let core = Arc::new(Core::new(&url, RabbitOptions::default()));
        let (_publisher, mut task) = Publisher::with_task(core, ConnectionPurpose::Journal);
        let first = task.reconnect.ceiling();
        for _ in 0..9 {
            task.reconnect.delay();
        }
        assert!(task.reconnect.ceiling() > first);
        for (age, is_reset) in [(STABLE_AFTER / 2, false), (STABLE_AFTER, true)] {
            let confirms = tokio::spawn(async {});
            task.open = Some(OpenSession { confirms, since: Instant::now() });
            tokio::time::advance(age).await;
            task.detach();
            assert_eq!(task.reconnect.ceiling() == first, is_reset, "{age:?}");
        }
    }
}
