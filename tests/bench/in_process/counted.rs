//! Deliveries that count their acknowledgements, for benchmarks of a listener without a broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use listener::DeliveryInfo;
use listener::driver::SettleError;
use listener::driver::{Delivery, Properties, Settle, Settlement, Settler};
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Counted {
    left: AtomicU64,
    all: Notify,
}

impl Counted {
    /// Expects this many acknowledgements from now on.
    pub(crate) fn expect(&self, times: u64) {
        self.left.store(times, Ordering::Relaxed);
    }

    pub(crate) fn delivery(self: &Arc<Self>, tag: u64, body: Bytes) -> Delivery {
        let settlement = Settlement::new(Arc::clone(self) as Arc<dyn Settler>, tag);
        let name: Arc<str> = "notifications.info".into();
        let info = DeliveryInfo::new(Arc::clone(&name), Arc::clone(&name), name);
        Delivery::new(body, Properties::default(), info, settlement)
    }

    /// Waits until all are acknowledged.
    pub(crate) async fn all(&self) {
        self.all.notified().await;
    }
}

impl Settler for Counted {
    fn settle(&self, _: u64, settle: Settle) -> Result<(), SettleError> {
        assert_eq!(settle, Settle::Ack);
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all.notify_one();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}
