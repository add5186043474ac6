//! The permit that a delivery is worked on with: a slot, which is given up while the delivery
//! only waits, and the signal to stop. The slots themselves are the scheduler's (`scheduler.rs`).

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::poll;
use tokio_util::sync::CancellationToken;

use crate::transport::delivery::Delivery;

/// How long a slot is kept for what is done soon as a rule, such as the confirmation of a copy.
const PATIENCE: Duration = Duration::from_millis(100);

/// A slot of the scheduler. Released again when it is dropped.
pub(crate) trait Slot: Send + Sync {
    /// Gives the slot up, so that another delivery is begun. Does nothing where it is not held,
    /// nor where deliveries are worked on strictly one after the other.
    fn release(&self);

    /// Gives the slot up for good, also where deliveries are worked on one after the other.
    fn give_up(&self);

    /// Whether it is held.
    fn is_held(&self) -> bool;

    /// Waits until the slot is held again.
    fn acquire(&self) -> BoxFuture<'_, ()>;
}

/// What a delivery is worked on with.
#[derive(Clone, Copy)]
pub(crate) struct Permit<'p> {
    slot: &'p dyn Slot,
    /// Cancelled when the listener stops: a method that runs is let finish, a wait is not.
    pub(crate) stop: &'p CancellationToken,
}

/// How often a delivery that waits is looked at: a session does not say that it ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until the session of a delivery is over: the broker gives it out again.
pub(crate) async fn ended(delivery: &Delivery) {
    while !delivery.is_over() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl<'p> Permit<'p> {
    pub(crate) fn new(slot: &'p dyn Slot, stop: &'p CancellationToken) -> Self {
        Self { slot, stop }
    }

    /// Waits for something without a slot and takes none afterwards, also where deliveries are
    /// worked on one after the other. `None` when the listener stops before that.
    pub(crate) async fn wait_outside<T>(&self, waited: impl Future<Output = T>) -> Option<T> {
        self.slot.give_up();
        self.stop.run_until_cancelled(waited).await
    }

    /// Waits for something without a slot; holds one again afterwards. `None` when the listener
    /// stops before that.
    pub(crate) async fn wait<T>(&self, waited: impl Future<Output = T>) -> Option<T> {
        let waited = async {
            let mut waited = pin!(waited);
            // Nothing is given up for what is there already.
            let value = match poll!(waited.as_mut()) {
                Poll::Ready(value) => value,
                Poll::Pending => {
                    self.slot.release();
                    waited.await
                }
            };
            if !self.slot.is_held() {
                self.slot.acquire().await;
            }
            value
        };
        self.stop.run_until_cancelled(waited).await
    }

    /// Waits for something to its end, also when the listener stops. The slot is given up if that
    /// is not done soon, and not taken again: to settle a delivery takes none. Whoever goes on to
    /// call methods has to `wait` first.
    pub(crate) async fn finish<T>(&self, waited: impl Future<Output = T>) -> T {
        let mut waited = pin!(waited);
        if let Poll::Ready(value) = poll!(waited.as_mut()) {
            return value;
        }
        if let Ok(value) = tokio::time::timeout(PATIENCE, waited.as_mut()).await {
            return value;
        }
        self.slot.release();
        waited.await
    }
}
