//! The task behind a subscription: it owns the session and, when that is lost, makes the next one, over
//! all hosts, with delays, until the consumer is closed. `session.rs` has what a session does,
//! `connection/reconnect.rs` the rounds and the delays.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::session::{DeliverySink, Session, SessionEvent, queues, role};
use crate::drivers::rabbit::connection::failure::Failure;
use crate::drivers::rabbit::connection::link::connect;
use crate::drivers::rabbit::connection::reconnect::{Host, Reconnect, Round};
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::options::{CLOSE_RESERVE, CLOSE_TIMEOUT};
use crate::future::BoxFuture;
use crate::transport::demand::Demand;
use crate::transport::driver::{ConnectionState, Consumer, Subscribed, Subscription};
use crate::transport::error::ConnectError;

/// Makes the first session, and starts the task.
pub(crate) async fn start(
    core: Arc<Core>,
    subscription: Subscription,
) -> Result<Subscribed, ConnectError> {
    let stale = Arc::new(AtomicU64::new(0));
    let mut reconnect = Reconnect::new(&core);
    let mut attempts = BTreeMap::new();
    let deadline = Instant::now() + subscription.timeout;
    let mut until = Some(deadline);
    let mut local = None;
    let first = async {
        loop {
            let context = AttachContext { core: &core, subscription: &subscription, stale: &stale };
            // Only the first round has a deadline.
            let round = reconnect.round(until.take());
            let failure = match context.try_hosts(round, 1, &mut attempts).await {
                Ok(session) => return Ok(session),
                Err(Failure::Permanent(error)) if !error.is_transient() => return Err(error),
                Err(failure) => failure,
            };
            let delay = reconnect.delay();
            tracing::warn!(reason = %failure, ?delay, "cannot attach to RabbitMQ yet");
            local = match failure {
                Failure::Permanent(error) => Some(error),
                Failure::Transient { .. } => None,
            };
            sleep(delay).await;
        }
    };
    let session = timeout_at(deadline, first).await.unwrap_or_else(|_| {
        if let Some(error) = local.take() {
            return Err(error);
        }
        let after = subscription.timeout;
        let reason = |(host, status): (&String, &HostStatus)| format!("{host} ({})", status.reason);
        let reasons = attempts.iter().map(reason).collect::<Vec<_>>().join(", ");
        Err(if attempts.values().any(|status| status.has_answered) {
            ConnectError::NotAttached { after, attempts: reasons }
        } else {
            ConnectError::Unreachable { after, attempts: reasons }
        })
    })?;
    let (deliveries, receiver) = mpsc::unbounded_channel();
    let (sender, commands) = mpsc::channel(2);
    let (state, watched) = watch::channel(ConnectionState::Attached);
    let recheck = Arc::new(Notify::new());
    let demand = Arc::new(Demand::default());
    attached(&session, &subscription, &stale);
    let supervisor = Supervisor {
        core,
        subscription,
        sink: Some(DeliverySink { deliveries, demand: Arc::clone(&demand) }),
        demand: Arc::clone(&demand),
        state,
        commands,
        recheck: Arc::clone(&recheck),
        reconnect,
        stale,
    };
    tokio::spawn(supervisor.run(session));
    Ok(Subscribed {
        deliveries: receiver,
        consumer: Box::new(RabbitConsumer { commands: sender, recheck, state: watched }),
        demand,
    })
}

/// What the owner of a consumer has called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Cancel,
    Close,
}

struct Command {
    action: Action,
    /// When the session has to have ended.
    until: Instant,
    done: oneshot::Sender<()>,
}

impl Command {
    fn new(action: Action) -> (Self, oneshot::Receiver<()>) {
        let (done, completed) = oneshot::channel();
        (Self { action, until: Instant::now() + CLOSE_TIMEOUT, done }, completed)
    }
}

/// The next command. Dropping the consumer closes it.
async fn next_command(commands: &mut mpsc::Receiver<Command>) -> Command {
    commands.recv().await.unwrap_or_else(|| Command::new(Action::Close).0)
}

/// The handle of a subscription. Dropping it closes the channel of commands, which ends the task.
struct RabbitConsumer {
    commands: mpsc::Sender<Command>,
    recheck: Arc<Notify>,
    state: watch::Receiver<ConnectionState>,
}

impl RabbitConsumer {
    async fn run(&self, action: Action) {
        let (command, completed) = Command::new(action);
        // Either fails only if the task has ended already.
        if self.commands.send(command).await.is_ok() {
            let _ = completed.await;
        }
    }
}

impl fmt::Debug for RabbitConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RabbitConsumer({:?})", *self.state.borrow())
    }
}

impl Consumer for RabbitConsumer {
    fn cancel(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.run(Action::Cancel))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.run(Action::Close).await })
    }

    fn recheck_quarantine_queues(&self) {
        self.recheck.notify_one();
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }
}

/// How a replacement of consumers ended.
enum Replacement {
    /// With this result; a failure ends the session.
    Done(Result<(), Failure>),
    /// A command arrived before it was completed.
    Interrupted(Command),
}

struct Supervisor {
    core: Arc<Core>,
    subscription: Subscription,
    /// Taken when the consumer is cancelled, so that the receiver ends after the last delivery.
    sink: Option<DeliverySink>,
    /// How far the listener has got with its deliveries, over all sessions.
    demand: Arc<Demand>,
    state: watch::Sender<ConnectionState>,
    commands: mpsc::Receiver<Command>,
    /// Notified when quarantine queues are to be looked for again.
    recheck: Arc<Notify>,
    reconnect: Reconnect,
    stale: Arc<AtomicU64>,
}

impl Supervisor {
    async fn run(mut self, first: Session) {
        let mut session = first;
        loop {
            let command = tokio::select! {
                biased;
                command = next_command(&mut self.commands) => command,
                () = self.recheck.notified(), if self.sink.is_some() => {
                    session.recheck_quarantine_queues();
                    continue;
                }
                event = session.serve(self.sink.as_ref(), &self.demand) => {
                    let replacement = match event {
                        SessionEvent::Lost(reason) => {
                            Replacement::Done(Err(Failure::transient(reason)))
                        }
                        SessionEvent::ReplaceConsumers => self.replace_consumers(&mut session).await,
                    };
                    match replacement {
                        Replacement::Done(result) => {
                            match self.session_or_next(session, result).await {
                                Some(next) => {
                                    session = next;
                                    continue;
                                }
                                None => return,
                            }
                        }
                        Replacement::Interrupted(command) => command,
                    }
                }
            };
            if command.action == Action::Close {
                self.end(session, command.until).await;
                let _ = command.done.send(());
                return;
            }
            if let Some(sink) = self.sink.take() {
                session.cancel(&sink).await;
            }
            self.state.send_replace(ConnectionState::Closed);
            let _ = command.done.send(());
        }
    }

    /// Replaces consumers of the session. If a command arrives meanwhile, the replacement is completed
    /// first, within the deadline of the command: a quorum queue keeps its order only if every delivery
    /// to a new consumer is known here. A silent broker must not delay the stop.
    async fn replace_consumers(&mut self, session: &mut Session) -> Replacement {
        let mut replaced = pin!(session.replace_consumers(self.sink.as_ref()));
        let command = tokio::select! {
            biased;
            result = &mut replaced => return Replacement::Done(result),
            command = next_command(&mut self.commands) => command,
        };
        let _ = timeout_at(command.until - CLOSE_RESERVE, replaced).await;
        Replacement::Interrupted(command)
    }

    /// The session, or the next one if it is lost; none if the consumer is cancelled or closed.
    async fn session_or_next(
        &mut self,
        session: Session,
        result: Result<(), Failure>,
    ) -> Option<Session> {
        match result {
            Ok(()) => Some(session),
            Err(failure) => self.lost(session, failure.to_string()).await,
        }
    }

    async fn end(self, session: Session, until: Instant) {
        drop(self.sink);
        // An earlier command, or a replacement of consumers, may have used up the time: the last settlements
        // still get their part of it.
        let is_answered = session.close(until.max(Instant::now() + CLOSE_RESERVE)).await;
        self.core.last_close_timed_out.store(!is_answered, Ordering::Relaxed);
        self.state.send_replace(ConnectionState::Closed);
        tracing::info!("detached from RabbitMQ");
    }

    /// The next session; none if the consumer is cancelled or closed.
    async fn lost(&mut self, session: Session, reason: String) -> Option<Session> {
        let generation = session.generation;
        self.reconnect.ended(session.age());
        self.reconnect.lost(&session.address);
        let host = session.address.to_string();
        // From here on settlements fail, and the broker redelivers what was unsettled.
        drop(session);
        if self.sink.is_none() {
            tracing::warn!(
                host,
                generation,
                reason,
                "lost RabbitMQ after the consumer was cancelled"
            );
            return None;
        }
        let mut delay = self.reconnect.delay();
        tracing::warn!(host, generation, reason, ?delay, "lost RabbitMQ");
        self.state.send_replace(ConnectionState::Lost { reason: reason.as_str().into() });
        self.reconnect.record_reason(&reason);
        loop {
            match self.attempt(delay, generation + 1).await? {
                Ok(session) => {
                    self.reconnect.connected();
                    attached(&session, &self.subscription, &self.stale);
                    self.state.send_replace(ConnectionState::Attached);
                    return Some(session);
                }
                Err(failure) => delay = self.failed(&failure),
            }
        }
    }

    /// One round after a delay; none if the consumer is cancelled or closed meanwhile.
    async fn attempt(
        &mut self,
        delay: Duration,
        generation: u64,
    ) -> Option<Result<Session, Failure>> {
        let mut attempts = BTreeMap::new();
        let attempt = async {
            sleep(delay).await;
            let (core, subscription, stale) = (&self.core, &self.subscription, &self.stale);
            let context = AttachContext { core, subscription, stale };
            context.try_hosts(self.reconnect.round(None), generation, &mut attempts).await
        };
        let command = tokio::select! {
            biased;
            command = next_command(&mut self.commands) => command,
            attached = attempt => return Some(attached),
        };
        // Nothing is consumed or unsettled, so both actions end the task.
        self.sink = None;
        self.state.send_replace(ConnectionState::Closed);
        let _ = command.done.send(());
        None
    }

    /// Reports a failed round, once for each reason. Returns the delay before the next one.
    fn failed(&mut self, failure: &Failure) -> Duration {
        let reason = failure.to_string();
        let delay = match failure.is_transient() {
            true => self.reconnect.delay(),
            false => self.reconnect.slow_delay(),
        };
        if !self.reconnect.record_reason(&reason) {
            tracing::debug!(reason, ?delay, "still cannot attach to RabbitMQ");
            return delay;
        }
        if failure.is_transient() {
            tracing::warn!(reason, ?delay, "cannot attach to RabbitMQ");
        } else {
            tracing::error!(
                reason,
                "RabbitMQ refuses the consumer; attempts continue until an operator fixes it"
            );
        }
        self.state.send_replace(ConnectionState::Lost { reason: reason.as_str().into() });
        delay
    }
}

/// What the last attempts at a host have shown.
struct HostStatus {
    /// Whether a broker has answered, at any time.
    has_answered: bool,
    /// Whether the reason concerns an open connection.
    is_after_connect: bool,
    reason: String,
}

impl HostStatus {
    fn unanswered() -> Self {
        let reason = "no answer yet".to_owned();
        Self { has_answered: false, is_after_connect: false, reason }
    }

    /// An earlier reason of an open connection is more specific, and is kept.
    fn connected(&mut self) {
        if !self.is_after_connect {
            self.reason = "connected, and no queue could be consumed yet".to_owned();
        }
        (self.has_answered, self.is_after_connect) = (true, true);
    }

    fn not_connected(&mut self, failure: &Failure) {
        self.is_after_connect = false;
        self.has_answered |= matches!(failure, Failure::Transient { has_answered: true, .. });
        self.reason = failure.to_string();
    }

    fn not_attached(&mut self, failure: &Failure) {
        self.reason = failure.to_string();
    }
}

/// What all attempts to attach share.
struct AttachContext<'a> {
    core: &'a Arc<Core>,
    subscription: &'a Subscription,
    stale: &'a Arc<AtomicU64>,
}

impl AttachContext<'_> {
    /// Tries each host once. `attempts` has the last reason of each, even if this future is dropped.
    async fn try_hosts(
        self,
        mut round: Round<'_>,
        generation: u64,
        attempts: &mut BTreeMap<String, HostStatus>,
    ) -> Result<Session, Failure> {
        let Self { core, subscription, stale } = self;
        let mut last = Failure::transient("no host".to_owned());
        while let Some(Host { address, limit }) = round.next() {
            let status = attempts.entry(address.to_string()).or_insert_with(HostStatus::unanswered);
            let attached = match connect(core, &address, role(core, subscription), limit).await {
                Ok(connected) => {
                    status.connected();
                    let attaching =
                        Session::attach(core, &address, connected, subscription, generation, stale);
                    attaching.await.inspect_err(|failure| status.not_attached(failure))
                }
                Err(failure) => {
                    status.not_connected(&failure);
                    Err(failure)
                }
            };
            let failure = match attached {
                Ok(session) => return Ok(session),
                Err(failure) => failure,
            };
            last = match round.failed(&address, failure) {
                // After the first session other hosts may still succeed. Before it, a permanent failure
                // is reported immediately.
                permanent @ Failure::Permanent(_) if generation == 1 => return Err(permanent),
                failure => failure,
            };
        }
        Err(last)
    }
}

fn attached(session: &Session, subscription: &Subscription, stale: &AtomicU64) {
    tracing::info!(
        host = %session.address,
        generation = session.generation,
        queues = ?queues(subscription),
        stale_settlements = stale.load(Ordering::Relaxed),
        "attached to RabbitMQ"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_host_is_the_last_one_of_its_open_connection() {
        let failed = |text: &str| Failure::transient(text.to_owned());
        let mut status = HostStatus::unanswered();
        assert_eq!((status.has_answered, status.reason.as_str()), (false, "no answer yet"));
        status.connected();
        status.not_attached(&failed("in exclusive use"));
        status.connected();
        assert_eq!(status.reason, failed("in exclusive use").to_string());
        status.not_connected(&failed("Connection refused"));
        assert_eq!(status.reason, failed("Connection refused").to_string());
        status.connected();
        assert_eq!(status.reason, "connected, and no queue could be consumed yet");
        assert!(status.has_answered);
    }
}
