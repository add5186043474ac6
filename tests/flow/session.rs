//! Deliveries of a session that is over are not handled, because the broker redelivers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use listener::driver::SettleError;
use listener::driver::{Delivery, Properties, Settle, Settlement, Settler};
use listener::options::{RetryOptions, RetryStorage};
use listener::{DeliveryInfo, Listener, Outcome, State, Transport, notification_endpoint};

use tokio::sync::mpsc;

use crate::prepared::Prepared;
use crate::rig::{Log, Rig, finish};

/// A session that can be ended; it settles nothing.
#[derive(Default)]
struct Session {
    over: AtomicBool,
}

impl Settler for Session {
    fn settle(&self, _: u64, _: Settle) -> Result<(), SettleError> {
        if self.is_over() { Err(SettleError) } else { Ok(()) }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

fn delivery(session: &Arc<Session>, payload: u32) -> Delivery {
    let body = format!(r#"{{"priority": "INFO", "payload": {payload}}}"#);
    let settlement = Settlement::new(Arc::clone(session) as Arc<dyn Settler>, 1);
    let info = DeliveryInfo::new("notifications.info", "openstack", "notifications.info");
    Delivery::new(Bytes::from(body), Properties::default(), info, settlement)
}

/// Asks for a retry after a minute, every time.
struct Retries;

#[notification_endpoint(register = false)]
impl Retries {
    async fn info(&self, payload: u32, log: State<Log>) -> Outcome {
        let _ = log.send(payload.to_string());
        Outcome::retry_after(Duration::from_secs(60))
    }
}

fn start(rig: &Rig) -> (Listener, mpsc::UnboundedSender<Delivery>) {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let transport = Transport::new(Prepared::new(deliveries), "sessions");
    let in_process = RetryOptions::default().storage(RetryStorage::Process);
    let builder = rig.builder_on(transport).retry(in_process);
    (builder.endpoint(Retries).build().unwrap(), sender)
}

#[tokio::test(start_paused = true)]
async fn stale_deliveries_are_skipped() {
    let mut rig = Rig::new();
    let (listener, deliveries) = start(&rig);
    let (old, new) = (Arc::new(Session::default()), Arc::new(Session::default()));
    old.over.store(true, Ordering::SeqCst);
    deliveries.send(delivery(&old, 1)).unwrap();
    deliveries.send(delivery(&new, 2)).unwrap();
    listener.start().await.unwrap();
    assert_eq!(rig.seen().await, "2");
    drop(deliveries);
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_held_in_the_process_ends_with_its_session() {
    let mut rig = Rig::new();
    let (listener, deliveries) = start(&rig);
    let session = Arc::new(Session::default());
    deliveries.send(delivery(&session, 1)).unwrap();
    listener.start().await.unwrap();
    assert_eq!([rig.seen().await, rig.seen().await], ["1", "1"]);
    session.over.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
    drop(deliveries);
    finish(&listener).await;
}
