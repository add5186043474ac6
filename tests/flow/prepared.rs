//! A driver that delivers what a test puts into its channel, and sends nothing.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use listener::driver::Delivery;
use listener::driver::{ConnectError, SendError};
use listener::driver::{ConnectionState, Consumer, Driver, Outgoing, Subscribed, Subscription};
use tokio::sync::{mpsc, watch};

/// Delivers the messages of a channel to one subscription.
pub(crate) struct Prepared(Mutex<Option<mpsc::UnboundedReceiver<Delivery>>>);

impl Prepared {
    /// A driver that delivers the messages of this channel.
    pub(crate) fn new(deliveries: mpsc::UnboundedReceiver<Delivery>) -> Self {
        Self(Mutex::new(Some(deliveries)))
    }
}

impl Driver for Prepared {
    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        let deliveries = self.0.lock().expect("not poisoned").take().expect("one subscription");
        Box::pin(async move { Ok(Subscribed::new(deliveries, Box::new(Held), Arc::default())) })
    }

    fn send(&self, _: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        panic!("nothing is sent here")
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[derive(Debug)]
struct Held;

impl Consumer for Held {
    fn recheck_quarantine_queues(&self) {}

    fn cancel(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        watch::channel(ConnectionState::Attached).1
    }
}
