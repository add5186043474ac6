//! For tests: a bus that fails as RabbitMQ can, by a seed. Its processes are drivers: what one
//! sends may be lost, refused or confirmed too late, and its sessions end. All chance is the
//! seed's and all time tokio's, so on a paused clock and one thread a seed replays exactly.
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
pub use crate::drivers::memory::queue::Limit;
use crate::future::BoxFuture;
use crate::transport::delivery::Delivery;
use crate::transport::driver::{
    ConnectionState, Consumer, Driver, JournalAppend, JournalRead, Outgoing, Route, Subscribed,
    Subscription,
};
use crate::transport::error::{ConnectError, JournalError, SendError};

/// The longest pause before a session that was lost is made again, once the broker is there.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What lasts until it is set otherwise. The default is a broker at its best.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conditions {
    /// The longest that a message, a confirmation or a delivery is on its way.
    pub latency: Duration,
    /// Of a hundred connections that are sent on, how many break before the message is there.
    pub lost_sends: u8,
    /// Of a hundred messages, how many are stored and their confirmation does not come: half of
    /// these connections break, and the driver sends again; half stall until the deadline.
    pub lost_confirms: u8,
    /// The broker is short of memory, and reads nothing that is sent.
    pub blocked: bool,
    /// The queues are full, and reject what is sent.
    pub full: bool,
    /// The queues of dead letters are full, and reject what is sent.
    pub dead_letters_full: bool,
    /// There is no broker. What it had confirmed is there when it comes back.
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

/// What became of the messages with one body, apart from what their senders and consumers asked
/// for. With no faults all is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// How often it was stored and the sender does not know.
    pub unconfirmed: u64,
    /// How often it came back because its consumer was gone.
    pub given_back: u64,
}

/// The broker, seen by whoever makes it fail.
#[derive(Clone, Debug)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Arc<Bus>,
    state: Mutex<State>,
    /// Told when the conditions change. Not a `watch`, which wakes in an order of its own chance.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    conditions: Conditions,
    /// Not the thread's own: nobody else may draw from it.
    chance: fastrand::Rng,
    /// Goes up whenever all connections are lost.
    connections: u64,
    lives: BTreeMap<Bytes, Lives>,
}

impl Model {
    /// A broker without queues. What fails by chance does so as the seed says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let chance = fastrand::Rng::with_seed(seed);
        let (conditions, lives) = (Conditions::default(), BTreeMap::new());
        let state = Mutex::new(State { conditions, chance, connections: 0, lives });
        Self(Arc::new(Inner { bus: Arc::default(), state, changed: Notify::new() }))
    }

    /// A program's connections to it.
    #[must_use]
    pub fn process(&self) -> Process {
        Process { model: self.clone(), dead: CancellationToken::new(), consumers: Arc::default() }
    }

    /// Changes the conditions. One that is `down` ends all connections.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.lock().conditions);
        self.0.changed.notify_waiters();
        if self.conditions().down {
            self.lose_connections("the broker is gone");
        }
    }

    /// Ends all connections: what is unsettled comes again, and is counted; what is being sent
    /// is not confirmed. New ones are made after a pause.
    pub fn lose_connections(&self, reason: &str) {
        self.lock().connections += 1;
        for consumer in self.0.bus.consumers() {
            self.lose(consumer, reason);
        }
    }

    /// Ends the session of one consumer, as a queue that moves to another node does; `which` is
    /// counted over all, and goes round. With none, nothing happens.
    pub fn cancel(&self, which: usize) {
        let consumers = self.0.bus.consumers();
        if let Some(consumer) = consumers.iter().cycle().nth(which % consumers.len().max(1)) {
            self.lose(*consumer, "the broker cancelled the consumer");
        }
    }

    /// Limits how often a queue gives a message out.
    pub fn limit(&self, queue: &str, limit: Limit) {
        self.0.bus.limit(queue, limit);
    }

    /// How many messages of each queue wait, are held back, or are unsettled.
    #[must_use]
    pub fn depths(&self) -> BTreeMap<String, usize> {
        self.0.bus.depths()
    }

    /// What became of the messages, by body.
    #[must_use]
    pub fn lives(&self) -> BTreeMap<Bytes, Lives> {
        self.lock().lives.clone()
    }

    fn lose(&self, consumer: ConsumerId, reason: &str) {
        self.count_given_back(self.0.bus.lose(consumer, reason));
        let model = self.clone();
        // Ends by itself: once the consumer has a session again, or none comes any more.
        tokio::spawn(async move {
            loop {
                model.until(|conditions| !conditions.down).await;
                sleep(model.up_to(LONGEST_PAUSE)).await;
                if !model.conditions().down {
                    return model.0.bus.regain(consumer);
                }
            }
        });
    }

    fn count_given_back(&self, bodies: Vec<Bytes>) {
        let mut state = self.lock();
        for body in bodies {
            state.lives.entry(body).or_default().given_back += 1;
        }
    }

    fn conditions(&self) -> Conditions {
        self.lock().conditions.clone()
    }

    /// Waits for such conditions.
    async fn until(&self, is: impl Fn(&Conditions) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if is(&self.conditions()) {
                return;
            }
            changed.await;
        }
    }

    /// A part of a time, by chance.
    fn up_to(&self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.lock().chance.u64(0..=longest))
    }

    fn happens(&self, of_a_hundred: u8) -> bool {
        of_a_hundred > 0 && self.lock().chance.u8(0..100) < of_a_hundred
    }

    /// The way from a program to the broker, or back.
    async fn travel(&self) {
        let latency = self.conditions().latency;
        if !latency.is_zero() {
            sleep(self.up_to(latency)).await;
        }
    }

    /// One message, sent again with each new connection until it is confirmed.
    async fn send(&self, outgoing: &Outgoing) -> Result<(), SendError> {
        loop {
            self.until(|conditions| !conditions.down && !conditions.blocked).await;
            let connection = self.lock().connections;
            let is_lost = || self.lock().connections != connection;
            self.travel().await;
            let Conditions { lost_sends, lost_confirms, full, dead_letters_full, .. } =
                self.conditions();
            if is_lost() || self.happens(lost_sends) {
                sleep(self.up_to(LONGEST_PAUSE)).await;
                continue;
            }
            let is_dead =
                matches!(&outgoing.route, Route::Queue(queue) if queue.ends_with(".dead"));
            if full || (dead_letters_full && is_dead) {
                return Err(SendError::Refused { route: outgoing.route.to_string() });
            }
            self.0.bus.send(outgoing.clone());
            // Until it is confirmed; nobody may be there any more to hear it.
            self.lock().lives.entry(outgoing.body.clone()).or_default().unconfirmed += 1;
            self.travel().await;
            if !is_lost() && !self.happens(lost_confirms) {
                self.lock().lives.entry(outgoing.body.clone()).or_default().unconfirmed -= 1;
                return Ok(());
            }
            if !is_lost() && self.happens(50) {
                std::future::pending::<()>().await;
            }
            sleep(self.up_to(LONGEST_PAUSE)).await;
        }
    }

    /// One entry, appended again with each new connection until it is confirmed and read. The
    /// confirmations that get lost are those of messages.
    async fn journal(&self, append: &JournalAppend) -> JournalRead {
        loop {
            self.until(|conditions| !conditions.down && !conditions.blocked).await;
            let connection = self.lock().connections;
            let is_lost = || self.lock().connections != connection;
            self.travel().await;
            let lost_sends = self.conditions().lost_sends;
            if !is_lost() && !self.happens(lost_sends) {
                let read = self.0.bus.journal(append.clone());
                self.travel().await;
                if !is_lost() {
                    return read;
                }
            }
            sleep(self.up_to(LONGEST_PAUSE)).await;
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
    /// The program dies. Its tasks may run on, but nobody hears them: nothing that they send
    /// arrives, what they hold is the broker's again, and what they ask for never comes.
    pub fn kill(&self) {
        self.dead.cancel();
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        for consumer in consumers.drain(..) {
            self.model.count_given_back(self.model.0.bus.detach(consumer));
        }
    }

    /// What is done until the program dies. After that nothing comes of it.
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
            let (consumer, given) = MemoryConsumer::attach(&self.model.0.bus, subscription);
            self.consumers.lock().unwrap_or_else(PoisonError::into_inner).push(consumer.id());
            let (sender, deliveries) = mpsc::unbounded_channel();
            tokio::spawn(carry(self.model.clone(), given, sender));
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
                Err(SendError::TimedOut { route, after, last: self.obstacle() })
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

    fn obstacle(&self) -> Option<String> {
        let conditions = self.model.conditions();
        if conditions.down {
            Some("the broker is down".to_owned())
        } else {
            conditions.blocked.then(|| "the broker is short of memory".to_owned())
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// Carries deliveries from the broker to a program, in order.
async fn carry(
    model: Model,
    mut given: mpsc::UnboundedReceiver<Delivery>,
    sender: mpsc::UnboundedSender<Delivery>,
) {
    while let Some(delivery) = given.recv().await {
        model.travel().await;
        if sender.send(delivery).is_err() {
            return;
        }
    }
}

/// A consumer whose end is noted by the model.
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

    fn look_again(&self) {
        self.consumer.look_again();
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.consumer.state()
    }
}

impl Drop for ModelConsumer {
    fn drop(&mut self) {
        self.model.count_given_back(self.model.0.bus.detach(self.consumer.id()));
    }
}

impl fmt::Debug for ModelConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.consumer.fmt(f)
    }
}
