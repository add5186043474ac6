//! The bus's side of a consumer: its unsettled deliveries, and the session in which they can be
//! settled. `bus.rs` decides which deliveries a consumer receives, `consumer.rs` has the listener's side.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};

use crate::drivers::memory::queue::{ConsumerId, Message};
use crate::transport::delivery::{Delivery, Settle, Settler};
use crate::transport::driver::{ConnectionState, Subscription};
use crate::transport::error::SettleError;

/// A consumer, as its bus knows it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) subscription: Subscription,
    /// `None` once the consumer is cancelled.
    pub(super) sender: Option<mpsc::UnboundedSender<Delivery>>,
    pub(super) state: watch::Sender<ConnectionState>,
    pub(super) session: Arc<Session>,
    /// The unsettled messages of this session, by tag.
    pub(super) unsettled: BTreeMap<u64, Message>,
    /// The bytes of their bodies.
    pub(super) bytes: usize,
    /// The queues that it consumes; the first one is the next to use bytes that become free.
    pub(super) queues: VecDeque<Arc<str>>,
}

impl Attached {
    /// Whether the message may be delivered. One message of each queue may, whatever its size.
    pub(super) fn has_room_for(&self, message: &Message) -> bool {
        let room = self.subscription.bytes.saturating_sub(self.bytes);
        let mut unsettled = self.unsettled.values();
        message.body.len() <= room || unsettled.all(|held| held.info.queue != message.info.queue)
    }
}

type SettleMessage = dyn Fn(u64, Settle) -> Result<(), SettleError> + Send + Sync;

/// The right to settle the deliveries of one session of a consumer.
pub(super) struct Session {
    consumer: ConsumerId,
    settle: Box<SettleMessage>,
    is_over: AtomicBool,
}

impl Session {
    /// `settle` settles the delivery with a tag.
    pub(super) fn new(
        consumer: ConsumerId,
        settle: impl Fn(u64, Settle) -> Result<(), SettleError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { consumer, settle: Box::new(settle), is_over: AtomicBool::new(false) })
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

impl Settler for Session {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        (self.settle)(tag, settle)
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
