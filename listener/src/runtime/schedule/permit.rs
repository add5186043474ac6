//! The permit to work on a delivery: a slot, which is freed while the delivery only waits, and the stop
//! signal. The slots are managed in `scheduler.rs`.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::poll;
use tokio_util::sync::CancellationToken;

use crate::transport::delivery::Delivery;

/// How long a slot is kept while the delivery waits for something that usually takes little time, such as
/// the confirmation of a copy.
const SLOT_GRACE: Duration = Duration::from_millis(100);

/// A slot of the scheduler, freed when dropped. A trait, so that the stages that wait need not know the scheduler,
/// which calls them.
pub(crate) trait Slot: Send + Sync {
    /// Frees the slot, so that another delivery is begun. Does nothing if it is not held, or if the
    /// executor is sequential.
    fn free(&self);

    /// Frees the slot for good, also if the executor is sequential.
    fn free_always(&self);

    /// Whether the slot is held.
    fn is_held(&self) -> bool;

    /// Waits until the slot is held again.
    fn acquire(&self) -> BoxFuture<'_, ()>;
}

/// The permit to work on one delivery.
#[derive(Clone, Copy)]
pub(crate) struct Permit<'p> {
    slot: &'p dyn Slot,
    /// Cancelled when the listener stops: running methods may finish, waits end.
    pub(crate) stop: &'p CancellationToken,
}

/// How often a waiting delivery checks whether its session is over, which nothing notifies it of.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Waits until the session of a delivery is over: the broker redelivers it.
pub(crate) async fn session_ended(delivery: &Delivery) {
    while !delivery.is_over() {
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

impl<'p> Permit<'p> {
    pub(crate) fn new(slot: &'p dyn Slot, stop: &'p CancellationToken) -> Self {
        Self { slot, stop }
    }

    /// Frees the slot, also if the executor is sequential. `acquire` is called before another method is.
    pub(crate) fn free(&self) {
        self.slot.free_always();
    }

    /// Waits until a slot is held. Returns immediately if it is.
    pub(crate) async fn acquire(&self) {
        if !self.slot.is_held() {
            self.slot.acquire().await;
        }
    }

    /// Waits without a slot, and acquires none afterwards, also if the executor is sequential. `None` if the
    /// listener stops first.
    pub(crate) async fn wait_outside<T>(&self, waited: impl Future<Output = T>) -> Option<T> {
        self.slot.free_always();
        self.stop.run_until_cancelled(waited).await
    }

    /// Waits without a slot, and holds one again afterwards. `None` if the listener stops first.
    pub(crate) async fn wait<T>(&self, waited: impl Future<Output = T>) -> Option<T> {
        let waited = async {
            let mut waited = pin!(waited);
            // The slot is kept if the value is ready.
            let value = match poll!(waited.as_mut()) {
                Poll::Ready(value) => value,
                Poll::Pending => {
                    self.slot.free();
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

    /// Waits to the end, also if the listener stops. The slot is freed if that takes more than
    /// `SLOT_GRACE`, and not acquired again, because settling needs none: a caller that goes on to call methods
    /// has to `wait` first.
    pub(crate) async fn finish<T>(&self, waited: impl Future<Output = T>) -> T {
        let mut waited = pin!(waited);
        if let Poll::Ready(value) = poll!(waited.as_mut()) {
            return value;
        }
        if let Ok(value) = tokio::time::timeout(SLOT_GRACE, waited.as_mut()).await {
            return value;
        }
        self.slot.free();
        waited.await
    }
}
