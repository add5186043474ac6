//! The oracle finds broken drivers: each breaks its promise in one way, and the oracle must report it.
//! Any other driver counts as sound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::Transport;
use listener::driver::{ConnectError, JournalError, SendError, SettleError};
use listener::driver::{Delivery, Settle, Settlement, Settler};
use listener::driver::{Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription};
use listener::testing::Process;
use tokio::sync::mpsc;

use crate::model::{FAULTS, PACE};
use crate::oracle::{Wrong, judge};
use crate::script::Script;
use crate::simulate;

/// How a driver is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// It confirms every message, and drops every seventh.
    DropsWhatItConfirms,
    /// It acknowledges a delivery before it is handled.
    AcknowledgesAtOnce,
    /// It ignores acknowledgements.
    ForgetsAcknowledgements,
    /// It requeues an acknowledged message.
    RequeuesWhatIsDone,
    /// It changes messages.
    ChangesBodies,
}

struct BrokenDriver {
    process: Process,
    how: Broken,
    sent: Mutex<u64>,
}

impl Driver for BrokenDriver {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        async move {
            let Subscribed { mut deliveries, consumer, demand, .. } =
                self.process.subscribe(subscription).await?;
            let (sender, receiver) = mpsc::unbounded_channel();
            let settler = Arc::new(BrokenSettler {
                how: self.how,
                held: Mutex::default(),
                last: AtomicU64::new(0),
            });
            tokio::spawn(async move {
                while let Some(delivery) = deliveries.recv().await {
                    let _ = sender.send(settler.hold(delivery));
                }
            });
            Ok(Subscribed::new(receiver, consumer, demand))
        }
        .boxed()
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent += 1;
        if self.how == Broken::DropsWhatItConfirms && sent.is_multiple_of(7) {
            return std::future::ready(Ok(())).boxed();
        }
        drop(sent);
        self.process.send(outgoing)
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        self.process.journal(append)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.process.close()
    }
}

/// Settles wrongly instead of the driver.
struct BrokenSettler {
    how: Broken,
    held: Mutex<BTreeMap<u64, Delivery>>,
    last: AtomicU64,
}

impl BrokenSettler {
    fn hold(self: &Arc<Self>, delivery: Delivery) -> Delivery {
        let mut body = delivery.body.clone();
        if self.how == Broken::ChangesBodies {
            let text = String::from_utf8(body.to_vec()).unwrap();
            body = Bytes::from(text.replace("the text of notification 1", "another text"));
        }
        let (properties, info) = (delivery.properties.clone(), delivery.info.clone());
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let tag = self.last.fetch_add(1, Ordering::Relaxed);
        if self.how == Broken::AcknowledgesAtOnce {
            // A delivery of an ended session is redelivered.
            let _ = delivery.settle(Settle::Ack);
        } else {
            held.insert(tag, delivery);
        }
        Delivery::new(body, properties, info, Settlement::new(Arc::clone(self) as _, tag))
    }
}

impl Settler for BrokenSettler {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(delivery) = held.remove(&tag) else {
            return Ok(());
        };
        match (self.how, settle) {
            (Broken::ForgetsAcknowledgements, Settle::Ack) if tag.is_multiple_of(3) => {
                held.insert(tag, delivery);
                Ok(())
            }
            (Broken::RequeuesWhatIsDone, Settle::Ack) if !delivery.info.redelivered => {
                delivery.settle(Settle::Requeue)
            }
            _ => delivery.settle(settle),
        }
    }

    fn is_over(&self) -> bool {
        false
    }
}

/// The oracle's verdicts for some seeds, without numbers.
fn verdicts(driver: fn(Process) -> Transport) -> BTreeSet<&'static str> {
    let seeds = (0..100).map(|seed| Script::new(seed, PACE, FAULTS));
    let wrong = seeds.filter_map(|script| judge(&script, &simulate(&script, driver)).err());
    wrong
        .flatten()
        .map(|wrong| match wrong {
            Wrong::Lost { .. } => "lost",
            Wrong::Unexpected { .. } => "unexpected",
            Wrong::Left { .. } => "left",
            Wrong::TooManyCalls { .. } => "called too often",
            Wrong::TooOftenHandled { .. } => "handled too often",
            Wrong::Quarantined(_) => "quarantined",
            Wrong::Endless | Wrong::Panicked => "no end",
        })
        .collect()
}

fn broken(process: Process, how: Broken) -> Transport {
    Transport::new(BrokenDriver { process, how, sent: Mutex::new(0) }, "broken")
}

#[test]
fn a_driver_that_drops_confirmed_messages_is_found_to_lose() {
    let wrong = verdicts(|process| broken(process, Broken::DropsWhatItConfirms));
    assert_eq!(wrong, BTreeSet::from(["lost"]));
}

#[test]
fn a_driver_that_acknowledges_too_early_is_found_to_lose() {
    let wrong = verdicts(|process| broken(process, Broken::AcknowledgesAtOnce));
    assert_eq!(wrong, BTreeSet::from(["lost"]));
}

#[test]
fn a_driver_that_forgets_acknowledgements_is_found_to_leave_messages() {
    let wrong = verdicts(|process| broken(process, Broken::ForgetsAcknowledgements));
    assert_eq!(wrong, BTreeSet::from(["left"]));
}

#[test]
fn a_driver_that_redelivers_acknowledged_messages_is_found_to_repeat() {
    let wrong = verdicts(|process| broken(process, Broken::RequeuesWhatIsDone));
    assert_eq!(wrong, BTreeSet::from(["called too often", "handled too often"]));
}

#[test]
fn a_driver_that_changes_messages_is_found() {
    let wrong = verdicts(|process| broken(process, Broken::ChangesBodies));
    assert_eq!(wrong, BTreeSet::from(["lost", "unexpected"]));
}
