//! The driver without a broker: buses of this process, one for each name. What a bus does
//! with messages is in `bus.rs` and `exchange.rs`; this file makes it keep the contract.

mod bus;
mod exchange;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::drivers::memory::bus::{Bus, ConsumerId};
use crate::shown::shown;
use crate::transport::delivery::{Settle, Settler};
use crate::transport::driver::{
    ConnectionState, Consumer, Driver, Outgoing, Subscribed, Subscription,
};
use crate::transport::error::{ConnectError, OpenError, SendError, SettleError};
use crate::transport::url::TransportUrl;

/// The buses of this process. They live as long as it does: a message must not vanish
/// because the transport that sent it was dropped before a listener came.
static BUSES: LazyLock<Mutex<HashMap<String, Arc<Bus>>>> = LazyLock::new(Mutex::default);

/// The in-memory driver: exchanges, queues, pools, prefetch and redelivery as a broker has
/// them, lost with the process.
#[derive(Clone, Debug)]
pub struct Memory {
    bus: Arc<Bus>,
}

impl Memory {
    /// The bus that the URL names, and its name for the logs.
    ///
    /// # Errors
    /// The URL has options: there are none here.
    pub(super) fn open(url: &TransportUrl) -> Result<(Self, String), OpenError> {
        if let Some((option, _)) = url.query().first() {
            return Err(OpenError::UnknownOption { option: shown(option), near: None });
        }
        let name = url.hosts().first().map_or("", |host| host.name.as_str());
        let mut buses = BUSES.lock().unwrap_or_else(PoisonError::into_inner);
        let bus = Arc::clone(buses.entry(name.to_owned()).or_default());
        Ok((Self { bus }, format!("memory://{name}")))
    }
}

impl Driver for Memory {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        async move {
            let (sender, deliveries) = mpsc::unbounded_channel();
            let id = self.bus.attach(&subscription, sender, |id| {
                Arc::new(MemorySettler { bus: Arc::clone(&self.bus), consumer: id })
            });
            tracing::info!(queues = subscription.bindings.len(), "attached in memory");
            let (state, _) = watch::channel(ConnectionState::Attached);
            let consumer = Box::new(MemoryConsumer { bus: Arc::clone(&self.bus), id, state });
            Ok(Subscribed { deliveries, consumer })
        }
        .boxed()
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        async move {
            self.bus.send(outgoing);
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

struct MemoryConsumer {
    bus: Arc<Bus>,
    id: ConsumerId,
    state: watch::Sender<ConnectionState>,
}

impl Consumer for MemoryConsumer {
    fn cancel(&self) -> BoxFuture<'_, ()> {
        self.bus.cancel(self.id);
        self.state.send_replace(ConnectionState::Closed);
        std::future::ready(()).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        // Settlements are carried out as they come, so there is nothing to flush: dropping
        // gives back what is unsettled.
        std::future::ready(()).boxed()
    }

    fn look_again(&self) {}

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.bus.detach(self.id);
        self.state.send_replace(ConnectionState::Closed);
    }
}

impl fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryConsumer({:?})", self.id)
    }
}

struct MemorySettler {
    bus: Arc<Bus>,
    consumer: ConsumerId,
}

impl Settler for MemorySettler {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        self.bus.settle(self.consumer, tag, settle)
    }

    fn is_over(&self) -> bool {
        !self.bus.is_attached(self.consumer)
    }
}
