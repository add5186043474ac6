//! A listener's handle of its consumer. `session.rs` has the bus's side of a consumer, and `bus.rs`
//! decides which deliveries it receives.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::drivers::memory::bus::Bus;
use crate::drivers::memory::queue::ConsumerId;
use crate::future::BoxFuture;
use crate::transport::delivery::Delivery;
use crate::transport::driver::{ConnectionState, Consumer, Subscription};

/// The consumer that a listener holds.
pub(super) struct MemoryConsumer {
    bus: Arc<Bus>,
    id: ConsumerId,
    state: watch::Receiver<ConnectionState>,
    delays: AbortHandle,
}

impl MemoryConsumer {
    /// Attaches a consumer. While it exists, a task delivers the delayed messages of the bus: without a
    /// consumer they can wait.
    pub(super) fn attach(
        bus: &Arc<Bus>,
        subscription: Subscription,
    ) -> (Self, mpsc::UnboundedReceiver<Delivery>) {
        tracing::info!(queues = subscription.bindings.len(), "attached in memory");
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (attached, state) = watch::channel(ConnectionState::Attached);
        let id = bus.attach(subscription, sender, attached);
        let delays = tokio::spawn(Arc::clone(bus).deliver_delayed()).abort_handle();
        (Self { bus: Arc::clone(bus), id, state, delays }, deliveries)
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
        // Settlements are synchronous, so there is nothing to flush. Dropping releases unsettled
        // deliveries.
        std::future::ready(()).boxed()
    }

    fn recheck_quarantine_queues(&self) {
        self.bus.recheck_quarantine_queues(self.id);
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.delays.abort();
        self.bus.detach(self.id);
    }
}

impl fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryConsumer({:?})", self.id)
    }
}
