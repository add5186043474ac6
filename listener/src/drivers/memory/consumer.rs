//! A consumer of a bus, from both sides: what the bus keeps of it, what its listener holds, and
//! the right to settle, which ends with a session. What it is given is decided in `bus.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::drivers::memory::bus::Bus;
use crate::drivers::memory::queue::Message;
use crate::future::BoxFuture;
use crate::transport::delivery::{Delivery, Settle, Settler};
use crate::transport::driver::{ConnectionState, Consumer, Subscription};
use crate::transport::error::SettleError;

/// Which consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConsumerId(pub(super) u64);

/// What a bus keeps of a consumer.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) subscription: Subscription,
    /// Gone once the consumer is cancelled.
    pub(super) sender: Option<mpsc::UnboundedSender<Delivery>>,
    pub(super) state: watch::Sender<ConnectionState>,
    pub(super) session: Arc<Session>,
    /// What was given out in this session, by tag.
    pub(super) unsettled: BTreeMap<u64, Message>,
    /// How many bytes of bodies that is.
    pub(super) bytes: usize,
    /// The queues that it takes from; the first is next to use bytes that become free.
    pub(super) queues: VecDeque<Arc<str>>,
}

impl Attached {
    /// One of each queue is let through, however large.
    pub(super) fn has_room_for(&self, message: &Message) -> bool {
        let room = self.subscription.bytes.saturating_sub(self.bytes);
        let mut unsettled = self.unsettled.values();
        message.body.len() <= room || unsettled.all(|held| held.info.queue != message.info.queue)
    }
}

/// The right to settle what was given out in one session of a consumer.
pub(super) struct Session {
    bus: Arc<Bus>,
    consumer: ConsumerId,
    is_over: AtomicBool,
}

impl Session {
    pub(super) fn new(bus: Arc<Bus>, consumer: ConsumerId) -> Arc<Self> {
        Arc::new(Self { bus, consumer, is_over: AtomicBool::new(false) })
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

impl Settler for Session {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        self.bus.settle(self.consumer, tag, settle)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(of {:?}, over: {})", self.consumer, self.is_over())
    }
}

/// What a listener holds.
pub(super) struct MemoryConsumer {
    bus: Arc<Bus>,
    id: ConsumerId,
    state: watch::Receiver<ConnectionState>,
    clock: AbortHandle,
}

impl MemoryConsumer {
    /// Attaches a consumer, and keeps the time of its bus: what is held back is due in the time
    /// of who takes it. With nobody there, it may as well wait.
    pub(super) fn attach(
        bus: &Arc<Bus>,
        subscription: Subscription,
    ) -> (Self, mpsc::UnboundedReceiver<Delivery>) {
        tracing::info!(queues = subscription.bindings.len(), "attached in memory");
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (attached, state) = watch::channel(ConnectionState::Attached);
        let id = bus.attach(subscription, sender, attached);
        let clock = tokio::spawn(Arc::clone(bus).keep_time()).abort_handle();
        (Self { bus: Arc::clone(bus), id, state, clock }, deliveries)
    }

    #[cfg(feature = "testing")]
    pub(super) const fn id(&self) -> ConsumerId {
        self.id
    }
}

impl Consumer for MemoryConsumer {
    fn cancel(&self) -> BoxFuture<'_, ()> {
        self.bus.cancel(self.id);
        std::future::ready(()).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        // Settlements are carried out as they come, so there is nothing to flush: dropping
        // gives back what is unsettled.
        std::future::ready(()).boxed()
    }

    fn look_again(&self) {
        self.bus.look_again(self.id);
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.clock.abort();
        self.bus.detach(self.id);
    }
}

impl fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryConsumer({:?})", self.id)
    }
}
