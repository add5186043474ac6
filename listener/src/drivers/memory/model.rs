//! For tests: a bus with RabbitMQ's failures, chosen by a seed. Its processes are drivers, whose messages
//! may be lost, refused or confirmed late, and whose sessions end. Only the seed decides, and only tokio's
//! clock is used, so on one thread with a paused clock a seed always replays the same run.
//! `tests/simulation` runs listeners on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::drivers::memory::bus::Bus;
use crate::drivers::memory::consumer::MemoryConsumer;
use crate::drivers::memory::queue::ConsumerId;
pub use crate::drivers::memory::queue::DeliveryLimit;
use crate::future::BoxFuture;
use crate::transport::delivery::Delivery;
use crate::transport::driver::{
    ConnectionState, Consumer, Driver, JournalAppend, JournalRead, Outgoing, Route, Subscribed,
    Subscription,
};
use crate::transport::error::{ConnectError, JournalError, SendError};

/// The longest delay before a lost session is replaced, once the broker is up.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// The conditions of a broker, until they are changed. By default nothing fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conditions {
    /// The longest transit time of a message, a confirmation or a delivery.
    pub latency: Duration,
    /// In percent, how many sends lose the connection before the message arrives.
    pub lost_sends: u8,
    /// In percent, how many messages are stored without a confirmation that arrives. In half of these cases
    /// the connection is lost and the driver sends again; in the others it stalls until the deadline.
    pub lost_confirms: u8,
    /// The broker lacks memory and does not read from publishers.
    pub blocked: bool,
    /// The queues are full and reject messages.
    pub full: bool,
    /// The dead-letter queues are full and reject messages.
    pub dead_letters_full: bool,
    /// The broker is down. It keeps what it confirmed.
    pub down: bool,
}

setters!(Conditions {
    latency: Duration,
    lost_sends: u8,
    lost_confirms: u8,
    blocked: bool,
    full: bool,
    dead_letters_full: bool,
    down: bool,
});

/// How often faults affected the messages with one body. Without faults all counts are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// How often a message was stored and the sender does not know.
    pub unconfirmed: u64,
    /// How often a delivery was released because its consumer was gone.
    pub released: u64,
}

/// The control of a broker: it makes the broker fail.
#[derive(Clone, Debug)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Arc<Bus>,
    state: Mutex<State>,
    /// Notified when the conditions change. Not a `watch`, which wakes its receivers in random order.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    conditions: Conditions,
    /// Not the thread's generator, which others use as well.
    random: fastrand::Rng,
    /// Incremented whenever all connections are lost.
    connections: u64,
    fault_counts: BTreeMap<Bytes, FaultCounts>,
}

impl Model {
    /// A broker without queues. The seed decides which operations fail.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (conditions, fault_counts) = (Conditions::default(), BTreeMap::new());
        let state = Mutex::new(State { conditions, random, connections: 0, fault_counts });
        Self(Arc::new(Inner { bus: Arc::default(), state, changed: Notify::new() }))
    }

    /// A program that connects to it.
    #[must_use]
    pub fn process(&self) -> Process {
        Process { model: self.clone(), dead: CancellationToken::new(), consumers: Arc::default() }
    }

    /// Changes the conditions. `down` ends all connections.
    ///
    /// # Panics
    /// Outside a tokio runtime, if a consumer loses its session.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.lock().conditions);
        self.0.changed.notify_waiters();
        if self.conditions().down {
            self.lose_connections("the broker is down");
        }
    }

    /// Ends all connections: unsettled deliveries are released and counted, and messages in flight are not
    /// confirmed. The connections are replaced after a delay.
    ///
    /// # Panics
    /// Outside a tokio runtime, if a consumer loses its session.
    pub fn lose_connections(&self, reason: &str) {
        self.lock().connections += 1;
        for consumer in self.0.bus.consumers() {
            self.lose(consumer, reason);
        }
    }

    /// Ends the session of one consumer, as when its queue moves to another node. `which` is its index among
    /// all consumers, modulo their number. Without consumers it does nothing.
    ///
    /// # Panics
    /// Outside a tokio runtime, if a consumer loses its session.
    pub fn cancel(&self, which: usize) {
        let consumers = self.0.bus.consumers();
        if let Some(consumer) = consumers.iter().cycle().nth(which % consumers.len().max(1)) {
            self.lose(*consumer, "the broker cancelled the consumer");
        }
    }

    /// Limits how often a queue delivers a message.
    pub fn limit(&self, queue: &str, limit: DeliveryLimit) {
        self.0.bus.limit(queue, limit);
    }

    /// How many messages of each queue are ready, delayed or unsettled.
    #[must_use]
    pub fn depths(&self) -> BTreeMap<String, usize> {
        self.0.bus.depths()
    }

    /// How often faults affected the messages, by body.
    #[must_use]
    pub fn fault_counts(&self) -> BTreeMap<Bytes, FaultCounts> {
        self.lock().fault_counts.clone()
    }

    fn lose(&self, consumer: ConsumerId, reason: &str) {
        self.count_released(self.0.bus.lose(consumer, reason));
        let model = self.clone();
        // Ends when the consumer has a session again, or is gone.
        tokio::spawn(async move {
            loop {
                model.until(|conditions| !conditions.down).await;
                sleep(model.up_to(MAX_DELAY)).await;
                if !model.conditions().down {
                    return model.0.bus.reattach(consumer);
                }
            }
        });
    }

    fn count_released(&self, bodies: Vec<Bytes>) {
        let mut state = self.lock();
        for body in bodies {
            state.fault_counts.entry(body).or_default().released += 1;
        }
    }

    fn conditions(&self) -> Conditions {
        self.lock().conditions.clone()
    }

    /// Waits until the conditions match.
    async fn until(&self, matches: impl Fn(&Conditions) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if matches(&self.conditions()) {
                return;
            }
            changed.await;
        }
    }

    /// A random duration.
    fn up_to(&self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.lock().random.u64(0..=longest))
    }

    fn happens(&self, percent: u8) -> bool {
        percent > 0 && self.lock().random.u8(0..100) < percent
    }

    /// The transit of a message between a program and the broker.
    async fn transit(&self) {
        let latency = self.conditions().latency;
        if !latency.is_zero() {
            sleep(self.up_to(latency)).await;
        }
    }

    /// Sends a message, again with each new connection, until it is confirmed.
    async fn send(&self, outgoing: &Outgoing) -> Result<(), SendError> {
        loop {
            self.until(|conditions| !conditions.down && !conditions.blocked).await;
            let connection = self.lock().connections;
            let is_lost = || self.lock().connections != connection;
            self.transit().await;
            let Conditions { lost_sends, lost_confirms, full, dead_letters_full, .. } =
                self.conditions();
            if is_lost() || self.happens(lost_sends) {
                sleep(self.up_to(MAX_DELAY)).await;
                continue;
            }
            let is_dead =
                matches!(&outgoing.route, Route::Queue(queue) if queue.ends_with(".dead"));
            if full || (dead_letters_full && is_dead) {
                return Err(SendError::Refused { route: outgoing.route.to_string() });
            }
            self.0.bus.send(outgoing.clone());
            // Counted until it is confirmed: the sender may be gone by then.
            self.lock().fault_counts.entry(outgoing.body.clone()).or_default().unconfirmed += 1;
            self.transit().await;
            if !is_lost() && !self.happens(lost_confirms) {
                self.lock().fault_counts.entry(outgoing.body.clone()).or_default().unconfirmed -= 1;
                return Ok(());
            }
            if !is_lost() && self.happens(50) {
                std::future::pending::<()>().await;
            }
            sleep(self.up_to(MAX_DELAY)).await;
        }
    }

    /// Appends an entry, again with each new connection, until it is confirmed and read. Only the
    /// confirmations of messages are lost, not those of entries.
    async fn journal(&self, append: &JournalAppend) -> JournalRead {
        loop {
            self.until(|conditions| !conditions.down && !conditions.blocked).await;
            let connection = self.lock().connections;
            let is_lost = || self.lock().connections != connection;
            self.transit().await;
            let lost_sends = self.conditions().lost_sends;
            if !is_lost() && !self.happens(lost_sends) {
                let read = self.0.bus.journal(append.clone());
                self.transit().await;
                if !is_lost() {
                    return read;
                }
            }
            sleep(self.up_to(MAX_DELAY)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program that uses the broker, as a driver.
#[derive(Clone, Debug)]
pub struct Process {
    model: Model,
    dead: CancellationToken,
    consumers: Arc<Mutex<Vec<ConsumerId>>>,
}

impl Process {
    /// Kills the program. Its tasks may continue, but without effect: their messages do not arrive, their
    /// deliveries are released, and their calls never return.
    pub fn kill(&self) {
        self.dead.cancel();
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        for consumer in consumers.drain(..) {
            self.model.count_released(self.model.0.bus.detach(consumer));
        }
    }

    /// Runs `work` until the program is killed. After that it never completes.
    async fn while_alive<T>(&self, work: impl Future<Output = T>) -> T {
        match self.dead.run_until_cancelled(work).await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

impl Driver for Process {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        self.while_alive(async move {
            let after = subscription.timeout;
            timeout(after, self.model.until(|conditions| !conditions.down)).await.map_err(
                |_| {
                    let attempts = "the model of a broker: it is down".to_owned();
                    ConnectError::Unreachable { after, attempts }
                },
            )?;
            let (consumer, received) = MemoryConsumer::attach(&self.model.0.bus, subscription);
            self.consumers.lock().unwrap_or_else(PoisonError::into_inner).push(consumer.id());
            let (sender, deliveries) = mpsc::unbounded_channel();
            tokio::spawn(forward(self.model.clone(), received, sender));
            let consumer = Box::new(ModelConsumer { model: self.model.clone(), consumer });
            Ok(Subscribed { deliveries, consumer, demand: Arc::default() })
        })
        .boxed()
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        self.while_alive(async move {
            let sent = timeout(outgoing.timeout, self.model.send(&outgoing)).await;
            sent.unwrap_or_else(|_| {
                let (route, after) = (outgoing.route.to_string(), outgoing.timeout);
                Err(SendError::TimedOut { route, after, last: self.blocked() })
            })
        })
        .boxed()
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        self.while_alive(async move {
            let appended = timeout(append.timeout, self.model.journal(&append)).await;
            let late = || JournalError::Unreachable("no confirmation in time".to_owned());
            appended.map_err(|_| late())
        })
        .boxed()
    }

    fn blocked(&self) -> Option<String> {
        let conditions = self.model.conditions();
        if conditions.down {
            Some("the broker is down".to_owned())
        } else {
            conditions.blocked.then(|| "the broker lacks memory".to_owned())
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// Forwards deliveries from the broker to a program, in order.
async fn forward(
    model: Model,
    mut deliveries: mpsc::UnboundedReceiver<Delivery>,
    sender: mpsc::UnboundedSender<Delivery>,
) {
    while let Some(delivery) = deliveries.recv().await {
        model.transit().await;
        if sender.send(delivery).is_err() {
            return;
        }
    }
}

/// A consumer whose end the model counts.
struct ModelConsumer {
    model: Model,
    consumer: MemoryConsumer,
}

impl Consumer for ModelConsumer {
    fn cancel(&self) -> BoxFuture<'_, ()> {
        self.consumer.cancel()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }

    fn recheck_quarantine_queues(&self) {
        self.consumer.recheck_quarantine_queues();
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.consumer.state()
    }
}

impl Drop for ModelConsumer {
    fn drop(&mut self) {
        self.model.count_released(self.model.0.bus.detach(self.consumer.id()));
    }
}

impl fmt::Debug for ModelConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.consumer.fmt(f)
    }
}
