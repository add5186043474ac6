//! The task behind a subscription: it owns the session, and when that is lost makes the next
//! one, with pauses, over all hosts, for as long as the consumer is not closed. What a session
//! does is `session.rs`; how long the pauses are, `hosts.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::session::{Given, Next, Session, queues, role};
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::connection::hosts::{Backoff, Rotation, share};
use crate::drivers::rabbit::connection::link::connect;
use crate::drivers::rabbit::connection::refusal::Failure;
use crate::drivers::rabbit::options::{CLOSE_TIMEOUT, LEAVING, STABLE_AFTER};
use crate::transport::demand::Demand;
use crate::transport::driver::{ConnectionState, Consumer, Subscribed, Subscription};
use crate::transport::error::ConnectError;

/// Attaches for the first time, and starts the task.
pub(crate) async fn start(
    core: Arc<Core>,
    subscription: Subscription,
) -> Result<Subscribed, ConnectError> {
    let stale = Arc::new(AtomicU64::new(0));
    let mut rotation = core.rotation();
    let mut backoff = Backoff::new(&core.options);
    let mut attempts = BTreeMap::new();
    let deadline = Instant::now() + subscription.timeout;
    let mut until = Some(deadline);
    let mut local = None;
    let first = async {
        loop {
            let of = Attempt { core: &core, subscription: &subscription, stale: &stale };
            // Later rounds take the time that they need.
            let round = of.round(&mut rotation, 1, until.take(), &mut attempts);
            let failure = match round.await {
                Ok(session) => return Ok(session),
                Err(Failure::Mistake(error)) if !error.is_transient() => return Err(error),
                Err(failure) => failure,
            };
            let pause = backoff.pause();
            tracing::warn!(reason = %failure, ?pause, "cannot attach to RabbitMQ yet");
            local = match failure {
                Failure::Mistake(error) => Some(error),
                Failure::Transient { .. } => None,
            };
            sleep(pause).await;
        }
    };
    let session = timeout_at(deadline, first).await.unwrap_or_else(|_| {
        if let Some(error) = local.take() {
            return Err(error);
        }
        let after = subscription.timeout;
        let said = |(host, tried): (&String, &Tried)| format!("{host} ({})", tried.reason);
        let said = attempts.iter().map(said).collect::<Vec<_>>().join(", ");
        Err(if attempts.values().any(|tried| tried.has_answered) {
            ConnectError::NotAttached { after, attempts: said }
        } else {
            ConnectError::Unreachable { after, attempts: said }
        })
    })?;
    let (deliveries, receiver) = mpsc::unbounded_channel();
    let (commands, orders) = mpsc::channel(2);
    let (state, watched) = watch::channel(ConnectionState::Attached);
    let look = Arc::new(Notify::new());
    let demand = Arc::new(Demand::default());
    attached(&session, &subscription, &stale);
    let supervisor = Supervisor {
        core,
        subscription,
        deliveries: Some(Given { deliveries, demand: Arc::clone(&demand) }),
        demand: Arc::clone(&demand),
        state,
        orders,
        look: Arc::clone(&look),
        rotation,
        backoff,
        stale,
    };
    tokio::spawn(supervisor.run(session));
    Ok(Subscribed {
        deliveries: receiver,
        consumer: Box::new(RabbitConsumer { commands, look, state: watched }),
        demand,
    })
}

/// What a consumer's holder wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Cancel,
    Close,
}

struct Order {
    wish: Wish,
    /// The deadline for the session to end.
    until: Instant,
    done: oneshot::Sender<()>,
}

impl Order {
    fn new(wish: Wish) -> (Self, oneshot::Receiver<()>) {
        let (done, carried_out) = oneshot::channel();
        (Self { wish, until: Instant::now() + CLOSE_TIMEOUT, done }, carried_out)
    }
}

/// The next order. Dropping the consumer is an order to close it.
async fn next_order(orders: &mut mpsc::Receiver<Order>) -> Order {
    orders.recv().await.unwrap_or_else(|| Order::new(Wish::Close).0)
}

/// The hold on a subscription. Dropped, it closes the channel of orders, which ends the task.
struct RabbitConsumer {
    commands: mpsc::Sender<Order>,
    look: Arc<Notify>,
    state: watch::Receiver<ConnectionState>,
}

impl RabbitConsumer {
    async fn order(&self, wish: Wish) {
        let (order, carried_out) = Order::new(wish);
        // Either fails when the task has ended already, and then it is done.
        if self.commands.send(order).await.is_ok() {
            let _ = carried_out.await;
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
        Box::pin(self.order(Wish::Cancel))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.order(Wish::Close).await })
    }

    fn look_again(&self) {
        self.look.notify_one();
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }
}

struct Supervisor {
    core: Arc<Core>,
    subscription: Subscription,
    /// Taken when it is cancelled: so the receiver ends after the last delivery.
    deliveries: Option<Given>,
    /// How the listener gets on with what was given to it, in all sessions.
    demand: Arc<Demand>,
    state: watch::Sender<ConnectionState>,
    orders: mpsc::Receiver<Order>,
    /// Told when quarantine queues are to be looked for again.
    look: Arc<Notify>,
    rotation: Rotation,
    backoff: Backoff,
    stale: Arc<AtomicU64>,
}

impl Supervisor {
    async fn run(mut self, first: Session) {
        let mut session = first;
        loop {
            let order = tokio::select! {
                biased;
                order = next_order(&mut self.orders) => order,
                () = self.look.notified(), if self.deliveries.is_some() => {
                    session.look_again();
                    continue;
                }
                next = session.serve(self.deliveries.as_ref(), &self.demand) => {
                    let done = match next {
                        Next::Lost(reason) => Ok(Err(Failure::transient(reason))),
                        Next::Refit => self.refit(&mut session).await,
                    };
                    match done {
                        Ok(done) => match self.on(session, done).await {
                            Some(next) => {
                                session = next;
                                continue;
                            }
                            None => return,
                        },
                        Err(order) => order,
                    }
                }
            };
            if order.wish == Wish::Close {
                self.end(session, order.until).await;
                let _ = order.done.send(());
                return;
            }
            if let Some(deliveries) = self.deliveries.take() {
                session.cancel(&deliveries).await;
            }
            self.state.send_replace(ConnectionState::Closed);
            let _ = order.done.send(());
        }
    }

    /// Refits the session. If an order arrives meanwhile, the refit is finished first, within the time
    /// of the order: a quorum queue keeps its order only if every delivery to a new consumer is known
    /// here. A silent broker must not delay the stop.
    async fn refit(&mut self, session: &mut Session) -> Result<Result<(), Failure>, Order> {
        let mut refit = pin!(session.refit(&self.core, self.deliveries.as_ref()));
        let order = tokio::select! {
            biased;
            done = &mut refit => return Ok(done),
            order = next_order(&mut self.orders) => order,
        };
        let _ = timeout_at(order.until - LEAVING, refit).await;
        Err(order)
    }

    /// Goes on with the session, or with the next one if it is lost; none if that is not wanted.
    async fn on(&mut self, session: Session, done: Result<(), Failure>) -> Option<Session> {
        match done {
            Ok(()) => Some(session),
            Err(failure) => self.lost(session, failure.to_string()).await,
        }
    }

    async fn end(self, session: Session, until: Instant) {
        drop(self.deliveries);
        let is_answered = session.close(until.max(Instant::now() + LEAVING)).await;
        self.core.is_silent.store(!is_answered, Ordering::Relaxed);
        self.state.send_replace(ConnectionState::Closed);
        tracing::info!("detached from RabbitMQ");
    }

    /// The next session, or none if it is not wanted any more.
    async fn lost(&mut self, session: Session, reason: String) -> Option<Session> {
        let generation = session.generation;
        if session.age() >= STABLE_AFTER {
            self.backoff.reset();
        }
        self.rotation.tried(&session.address);
        let host = session.address.to_string();
        // From here on settlements fail, and the broker gives out again what was unsettled.
        drop(session);
        if self.deliveries.is_none() {
            tracing::warn!(
                host,
                generation,
                reason,
                "lost RabbitMQ after the consumer was cancelled"
            );
            return None;
        }
        let mut pause = self.backoff.pause();
        tracing::warn!(host, generation, reason, ?pause, "lost RabbitMQ");
        self.state.send_replace(ConnectionState::Lost { reason: reason.as_str().into() });
        let mut told = reason;
        loop {
            match self.attempt(pause, generation + 1).await? {
                Ok(session) => {
                    attached(&session, &self.subscription, &self.stale);
                    self.state.send_replace(ConnectionState::Attached);
                    return Some(session);
                }
                Err(failure) => pause = self.failed(&failure, &mut told),
            }
        }
    }

    /// One round after a pause; none if an order came that makes it pointless.
    async fn attempt(
        &mut self,
        pause: Duration,
        generation: u64,
    ) -> Option<Result<Session, Failure>> {
        let mut attempts = BTreeMap::new();
        let attempt = async {
            sleep(pause).await;
            let (core, subscription, stale) = (&self.core, &self.subscription, &self.stale);
            let of = Attempt { core, subscription, stale };
            of.round(&mut self.rotation, generation, None, &mut attempts).await
        };
        let order = tokio::select! {
            biased;
            order = next_order(&mut self.orders) => order,
            attached = attempt => return Some(attached),
        };
        // There is nothing to cancel, and nothing to settle: both orders end it.
        self.deliveries = None;
        self.state.send_replace(ConnectionState::Closed);
        let _ = order.done.send(());
        None
    }

    /// Tells of a failed round, once for each reason, and says how long to pause.
    fn failed(&mut self, failure: &Failure, told: &mut String) -> Duration {
        let reason = failure.to_string();
        let pause = if failure.passes() { self.backoff.pause() } else { self.backoff.slow_pause() };
        if *told == reason {
            tracing::debug!(reason, ?pause, "still cannot attach to RabbitMQ");
            return pause;
        }
        if failure.passes() {
            tracing::warn!(reason, ?pause, "cannot attach to RabbitMQ");
        } else {
            tracing::error!(
                reason,
                "RabbitMQ refuses; it is tried again and again until somebody fixes it"
            );
        }
        self.state.send_replace(ConnectionState::Lost { reason: reason.as_str().into() });
        *told = reason;
        pause
    }
}

/// How a host was found last.
struct Tried {
    /// Whether a broker has answered, at any time.
    has_answered: bool,
    /// Whether the reason is of a connection that stood.
    is_of_connected: bool,
    reason: String,
}

impl Tried {
    fn not_yet() -> Self {
        let reason = "no answer yet".to_owned();
        Self { has_answered: false, is_of_connected: false, reason }
    }

    /// What was said before of a connection that stood says more.
    fn connected(&mut self) {
        if !self.is_of_connected {
            self.reason = "connected, and no queue could be consumed yet".to_owned();
        }
        (self.has_answered, self.is_of_connected) = (true, true);
    }

    fn not_connected(&mut self, failure: &Failure) {
        self.is_of_connected = false;
        self.has_answered |= matches!(failure, Failure::Transient { has_answered: true, .. });
        self.reason = failure.to_string();
    }

    fn not_attached(&mut self, failure: &Failure) {
        self.reason = failure.to_string();
    }
}

/// What each attempt to attach is made with.
struct Attempt<'a> {
    core: &'a Arc<Core>,
    subscription: &'a Subscription,
    stale: &'a Arc<AtomicU64>,
}

impl Attempt<'_> {
    /// Tries each host once, with its share of the time until then. `attempts` keeps what each said
    /// last, also when this is dropped.
    async fn round(
        self,
        rotation: &mut Rotation,
        generation: u64,
        until: Option<Instant>,
        attempts: &mut BTreeMap<String, Tried>,
    ) -> Result<Session, Failure> {
        let Self { core, subscription, stale } = self;
        let mut last = Failure::transient("no host".to_owned());
        let hosts = rotation.round();
        let count = hosts.len();
        for (tried, address) in hosts.iter().enumerate() {
            let host = address.to_string();
            let last_try = attempts.entry(host).or_insert_with(Tried::not_yet);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = share(core.options.connection_timeout, left, count - tried);
            let attached = match connect(core, address, role(core, subscription), limit).await {
                Ok(connected) => {
                    last_try.connected();
                    let attaching =
                        Session::attach(core, address, connected, subscription, generation, stale);
                    attaching.await.inspect_err(|failure| last_try.not_attached(failure))
                }
                Err(failure) => {
                    last_try.not_connected(&failure);
                    Err(failure)
                }
            };
            let failure = match attached {
                Ok(session) => return Ok(session),
                Err(failure) => failure,
            };
            rotation.tried(address);
            last = match failure.among(count) {
                Failure::Transient { reason, .. } => {
                    Failure::transient(format!("{address}: {reason}"))
                }
                // One host may be wrong where another is right, but not before the first
                // attachment: then the mistake is told at once.
                mistake if generation == 1 => return Err(mistake),
                mistake => mistake,
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
    fn what_is_told_of_a_host_is_what_was_said_last_of_the_connection_that_stands() {
        let failed = |text: &str| Failure::transient(text.to_owned());
        let mut tried = Tried::not_yet();
        assert_eq!((tried.has_answered, tried.reason.as_str()), (false, "no answer yet"));
        tried.connected();
        tried.not_attached(&failed("in exclusive use"));
        tried.connected();
        assert_eq!(tried.reason, failed("in exclusive use").to_string());
        tried.not_connected(&failed("Connection refused"));
        assert_eq!(tried.reason, failed("Connection refused").to_string());
        tried.connected();
        assert_eq!(tried.reason, "connected, and no queue could be consumed yet");
        assert!(tried.has_answered);
    }
}
