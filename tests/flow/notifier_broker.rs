//! A broker in a given state, without queues, for the tests of a notifier; and its spool directory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use listener::driver::{
    ConnectError, Driver, Outgoing, Route, SendError, Subscribed, Subscription,
};
use listener::options::SpoolOptions;
use listener::{Context, Notifier, NotifierBuilder, NotifyError, Priority, Receipt, Transport};
use support::wait_until;
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) const AFTER: Duration = Duration::from_secs(5);

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The state of the broker.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum BrokerState {
    Available,
    Away,
    /// It has no queue for this payload.
    HasNoQueueFor(u32),
    /// A local failure keeps this process from reaching it.
    LocalFailure,
    /// It does not answer for this topic.
    AwayFor(&'static str),
    /// The queues of these routing keys exist with other arguments.
    MismatchedQueues(&'static [&'static str]),
    /// The account has no permissions.
    Forbids,
    /// It refuses transient queues.
    DeniesTransient,
    /// The account has no permissions until this many sends were refused.
    ForbidsNext(u32),
    /// The queue of `warn` exists with other arguments; from this payload on it does not answer.
    MismatchedWarnAndAwayFrom(u32),
    /// It accepts one more message. Then the account has no permissions.
    AcceptsOneThenForbids,
}

/// A broker in a given state, which records what it accepts: routing key and payload.
#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) state: watch::Sender<BrokerState>,
    pub(crate) accepted: Arc<Mutex<Vec<(String, u32)>>>,
}

impl Broker {
    pub(crate) fn new(state: BrokerState) -> Self {
        Self { state: watch::Sender::new(state), accepted: Arc::default() }
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::new(self.clone(), "a broker in a given state")
    }

    /// The payloads accepted until now.
    pub(crate) fn accepted(&self) -> Vec<u32> {
        self.accepted.lock().unwrap().iter().map(|(_, payload)| *payload).collect()
    }

    pub(crate) async fn take(&self, outgoing: &Outgoing) -> Result<(), SendError> {
        let Route::Topic { routing_key, .. } = &outgoing.route else { panic!("a topic") };
        let payload = payload(outgoing);
        let is_away = |state: &BrokerState| match state {
            BrokerState::Away => true,
            BrokerState::AwayFor(topic) => routing_key.starts_with(topic),
            BrokerState::MismatchedWarnAndAwayFrom(first) => payload >= *first,
            _ => false,
        };
        let state = *self.state.subscribe().wait_for(|state| !is_away(state)).await.unwrap();
        if state == BrokerState::HasNoQueueFor(payload) {
            let (route, reason) = (outgoing.route.to_string(), "312 NO_ROUTE".to_owned());
            return Err(SendError::Unroutable { route, reason });
        }
        if state == BrokerState::LocalFailure {
            let (action, reason) = ("start the driver's thread".to_owned(), "a test".to_owned());
            return Err(ConnectError::Local { action, reason }.into());
        }
        let others: &[&str] = match state {
            BrokerState::MismatchedQueues(keys) => keys,
            BrokerState::MismatchedWarnAndAwayFrom(_) => &["notifications.warn"],
            _ => &[],
        };
        if others.contains(&routing_key.as_str()) {
            let what = format!("queue {routing_key:?}");
            let difference = "x-queue-type was requested to be quorum, and is classic".to_owned();
            return Err(ConnectError::Mismatch { what, difference }.into());
        }
        match state {
            BrokerState::ForbidsNext(1) => _ = self.state.send_replace(BrokerState::Available),
            BrokerState::ForbidsNext(left) => {
                _ = self.state.send_replace(BrokerState::ForbidsNext(left - 1));
            }
            BrokerState::AcceptsOneThenForbids => _ = self.state.send_replace(BrokerState::Forbids),
            _ => {}
        }
        if matches!(state, BrokerState::Forbids | BrokerState::ForbidsNext(_)) {
            let (user, action) = ("billing".to_owned(), "declare queues".to_owned());
            let reason = "403 ACCESS_REFUSED".to_owned();
            return Err(
                ConnectError::Forbidden { user, action, reason, fix: "grant it".into() }.into()
            );
        }
        if state == BrokerState::DeniesTransient {
            let action = format!("declare queue {routing_key:?}");
            let reason = "541 INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated";
            return Err(ConnectError::Refused { action, reason: reason.to_owned() }.into());
        }
        self.accepted.lock().unwrap().push((routing_key.clone(), payload));
        Ok(())
    }
}

pub(crate) fn payload(outgoing: &Outgoing) -> u32 {
    let outer: serde_json::Value = serde_json::from_slice(&outgoing.body).unwrap();
    let inner: serde_json::Value =
        serde_json::from_str(outer["oslo.message"].as_str().unwrap()).unwrap();
    inner["payload"].as_u64().unwrap() as u32
}

impl Driver for Broker {
    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        unreachable!("a notifier does not subscribe")
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        async move {
            timeout(outgoing.timeout, self.take(&outgoing)).await.unwrap_or_else(|_| {
                let (route, after) = (outgoing.route.to_string(), outgoing.timeout);
                Err(SendError::TimedOut { route, after, last: None })
            })
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// A directory that is deleted with the value.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("listener-flow-{}-{number}", std::process::id())))
    }

    pub(crate) fn options(&self) -> SpoolOptions {
        SpoolOptions::new(&self.0).confirm_timeout(AFTER)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn builder(broker: &Broker) -> NotifierBuilder {
    Notifier::builder(broker.transport()).timeout(TIMEOUT)
}

pub(crate) fn spooling(broker: &Broker, directory: &Directory) -> Notifier {
    builder(broker).spool(directory.options()).build().unwrap()
}

pub(crate) async fn notify(notifier: &Notifier, payload: u32) -> Result<Receipt, NotifyError> {
    notifier.notify(Priority::Info, &Context::new(), "x", &payload).await
}

pub(crate) async fn drained(notifier: &Notifier) {
    wait_until("the spool is empty", TIMEOUT, async || notifier.spooled().waiting == 0).await;
}
