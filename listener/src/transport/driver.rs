//! The contract of a driver: what the runtime and the notifier need of a broker. `drivers/memory` and
//! `drivers/rabbit` implement it; `tests/conformance` tests each implementation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, watch};

use crate::future::BoxFuture;
use crate::transport::delivery::{Delivery, Properties};
use crate::transport::demand::Demand;
use crate::transport::error::{ConnectError, JournalError, SendError};

/// The longest timeout that a driver is given: 365 days. [`Transport`](crate::Transport) shortens longer
/// ones, so that no driver computes a time that does not exist.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest delay that a driver is given ([`Route::Delayed`]): 24 hours. The runtime delays a copy
/// several times if its delay is longer.
pub const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);

/// A connection to a broker, shared by listeners and notifiers.
/// [`Transport::new`](crate::Transport::new) makes a transport of one. `tests/conformance` in the
/// repository has the tests that every driver has to pass.
pub trait Driver: Send + Sync + 'static {
    /// Declares what is missing, attaches a consumer to each queue, and delivers.
    ///
    /// Called once for each start of a listener. The driver retries transient failures (the broker
    /// cannot be reached) for `subscription.timeout`, and returns permanent ones (a wrong password, a
    /// queue with other arguments) at once. After this has returned, the driver replaces a lost session
    /// for as long as the consumer is not closed; there are no further errors, and `Consumer::state`
    /// reports the state.
    ///
    /// Dropping the future cancels the subscription and leaves no consumer behind.
    ///
    /// # Errors
    /// [`ConnectError`]: the queues could not be consumed.
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>>;

    /// Sends a message. Returns when the broker has confirmed it: persistent, and routed to at least one
    /// queue.
    ///
    /// If the connection is lost before the confirmation, the driver reconnects and sends the message
    /// again, until `outgoing.timeout` has passed: a message may arrive twice, and one for which this
    /// returned `Ok` is never lost. Many sends may be in flight at once. Dropping the future stops
    /// waiting; whether the message was sent is then unknown.
    ///
    /// # Errors
    /// [`SendError`] says whether another attempt may succeed, and whether the message may have been
    /// sent.
    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>>;

    /// Appends an entry to a journal, which is created if it is missing, and reads the entries of other
    /// processes.
    ///
    /// A journal is one sequence of entries that every process reads in the same order, durable
    /// like a queue; old entries may be dropped once it holds a megabyte or more. The runtime
    /// records there which suspects a process has started, to distinguish a crash from a graceful stop.
    /// Returns once the entry is confirmed and, if `read_from` is set, all entries from that position up
    /// to this one have been read. Entries are unique.
    ///
    /// # Errors
    /// [`JournalError::Unsupported`]: this driver or this broker has no journals, or the user may
    /// not use them; this is the default. [`JournalError::Lost`]: the broker knows the name of the journal
    /// and lost its content. [`JournalError::Unreachable`]: no answer within `append.timeout`, or the
    /// broker is unreachable.
    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        let reason = format!("the driver keeps no journal {:?}", append.journal);
        Box::pin(std::future::ready(Err(JournalError::Unsupported(reason))))
    }

    /// What this driver can do. A listener is not built if its options need something else. The default is
    /// everything.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Why messages cannot be sent at present, such as a memory alarm of the broker; `None` if no reason
    /// is known. [`Health::blocked`](crate::Health::blocked) shows it.
    fn blocked(&self) -> Option<String> {
        None
    }

    /// Closes the connections of `send` and `journal` after the calls in flight have ended. A later call
    /// opens them again.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a driver can do with a delivery, apart from acknowledging it.
///
/// ```
/// use listener::driver::Capabilities;
///
/// // A log of messages: nothing returns to a queue, and nothing is delayed.
/// let log = Capabilities::default().requeue(false).delay(false);
/// assert!(log.dead_letter);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`Settle::Requeue`](crate::driver::Settle::Requeue) returns a delivery to its queue, from where it is
    /// delivered again in this session. Without it a listener with `allow_requeue` or
    /// [`OnFailure::Requeue`](crate::options::OnFailure::Requeue) is not built.
    pub requeue: bool,
    /// [`Route::Delayed`] is supported. Without it retries are held in the process, as with
    /// [`RetryStorage::Process`](crate::options::RetryStorage::Process), and one whose delay is longer than
    /// `retry.hold` becomes a dead letter. A driver that finds out only when it sends returns
    /// [`SendError::NoDelay`].
    pub delay: bool,
    /// [`Route::Queue`] is supported, so that dead letters can be kept. Without it no listener is built: what
    /// it gives up would be lost, or come back for ever.
    pub dead_letter: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { requeue: true, delay: true, dead_letter: true }
    }
}

setters!(Capabilities { requeue: bool, delay: bool, dead_letter: bool });

/// What a listener consumes.
///
/// ```
/// use std::time::Duration;
///
/// use listener::driver::{Binding, Subscription};
///
/// let bindings = vec![Binding::new("nova", "notifications.info", "notifications.info")];
/// let subscription = Subscription::new(bindings, 10, Duration::from_secs(30)).bytes(64 << 20);
/// assert_eq!(subscription.prefetch, 10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// The queues and their bindings; a queue with several bindings appears once for each.
    pub bindings: Vec<Binding>,
    /// How many deliveries of one queue may be unsettled at once; never 0.
    pub prefetch: u16,
    /// How long to wait for a broker that cannot be reached.
    pub timeout: Duration,
    /// Set for temporary queues: those that are declared for this subscription are deleted with their
    /// messages after this time without a consumer. Existing queues are used as they are.
    pub expires: Option<Duration>,
    /// Quarantine queues, whose deliveries are handled one at a time: each existing one is consumed with
    /// a prefetch of 1. A missing one is not declared, and is looked for again by `Consumer::recheck_quarantine_queues`
    /// and by the next session.
    pub quarantine: Vec<String>,
    /// How many bytes of bodies may be unsettled at once, over all queues. One delivery of each queue may
    /// exceed it, and so may deliveries that the broker had sent before it was reached.
    pub bytes: usize,
    /// How many deliveries the listener handles at once. A driver may then adapt the prefetch to the
    /// rate of settlements, up to `prefetch`, so that other consumers of the queue receive their share.
    /// `None`: always the whole prefetch.
    pub slots: Option<usize>,
}

impl Subscription {
    /// A subscription to these queues, with this prefetch for each and this timeout for an unreachable
    /// broker, without quarantine queues, a limit on bytes or an adaptive prefetch.
    #[must_use]
    pub const fn new(bindings: Vec<Binding>, prefetch: u16, timeout: Duration) -> Self {
        Self {
            bindings,
            prefetch,
            timeout,
            expires: None,
            quarantine: Vec::new(),
            bytes: usize::MAX,
            slots: None,
        }
    }
}

setters!(Subscription {
    bindings: Vec<Binding>,
    prefetch: u16,
    timeout: Duration,
    expires: Option<Duration>,
    quarantine: Vec<String>,
    bytes: usize,
    slots: Option<usize>,
});

/// A queue, and the exchange and routing key that it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Binding {
    /// The topic exchange; empty: the queue is not bound.
    pub exchange: String,
    /// The routing key: `topic.priority`.
    pub routing_key: String,
    /// The queue.
    pub queue: String,
}

impl Binding {
    /// A queue that is bound to a topic exchange with this routing key.
    #[must_use]
    pub fn new(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        queue: impl Into<String>,
    ) -> Self {
        Self { exchange: exchange.into(), routing_key: routing_key.into(), queue: queue.into() }
    }

    /// A queue that is bound to nothing.
    #[must_use]
    pub fn unbound(queue: impl Into<String>) -> Self {
        Self::new("", "", queue)
    }
}

/// An active subscription. The channel yields deliveries until the consumer is cancelled and the last of
/// them is taken, or until it is closed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Subscribed {
    /// The deliveries. At most `prefetch` of each queue are unsettled.
    pub deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// Ends the subscription.
    pub consumer: Box<dyn Consumer>,
    /// Where the listener reports whether it can start more deliveries.
    pub demand: Arc<Demand>,
}

impl Subscribed {
    /// A subscription as a driver returns it. A driver that does not adapt its prefetch passes
    /// `Arc::default()` as the demand.
    #[must_use]
    pub fn new(
        deliveries: mpsc::UnboundedReceiver<Delivery>,
        consumer: Box<dyn Consumer>,
        demand: Arc<Demand>,
    ) -> Self {
        Self { deliveries, consumer, demand }
    }
}

/// The handle of a subscription. Dropping it closes the subscription without waiting.
pub trait Consumer: Send + Sync + fmt::Debug {
    /// Stops new deliveries: returns when the broker sends no more. Earlier deliveries can still be
    /// settled.
    fn cancel(&self) -> BoxFuture<'_, ()>;

    /// Sends all requested settlements, then closes. Unsettled deliveries return to their
    /// queues in their old order, not counted as attempts where the broker distinguishes the two.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;

    /// Looks for the queues of `Subscription::quarantine` that were missing, and consumes those that
    /// exist by now. Returns at once.
    fn recheck_quarantine_queues(&self);

    /// The state of the connection, now and when it changes.
    fn state(&self) -> watch::Receiver<ConnectionState>;
}

/// The state of a consumer's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionState {
    /// Every queue has its consumer.
    Attached,
    /// There is no session; the driver reconnects.
    Lost {
        /// What ended the last session, or why the last attempt to reconnect failed.
        #[serde(serialize_with = "text")]
        reason: Arc<str>,
    },
    /// Cancelled or closed.
    Closed,
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// A message to send.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outgoing {
    /// The destination.
    pub route: Route,
    /// The body.
    pub body: Bytes,
    /// Content type, headers, ids. A driver sends all of them, each header with its type.
    pub properties: Properties,
    /// How long all attempts may take together: reconnecting, sending, the confirmation.
    pub timeout: Duration,
    /// How many attempts may follow one that failed, within the timeout; `None`: any number. An attempt is a
    /// round over all hosts without a connection, or a publication that was not confirmed. Drivers that
    /// do not try again ignore it.
    pub retries: Option<u32>,
}

impl Outgoing {
    /// A message without properties.
    #[must_use]
    pub fn new(route: Route, body: impl Into<Bytes>, timeout: Duration) -> Self {
        Self { route, body: body.into(), properties: Properties::default(), timeout, retries: None }
    }
}

setters!(Outgoing {
    route: Route,
    body: Bytes,
    properties: Properties,
    timeout: Duration,
    retries: Option<u32>,
});

/// Does not show the body: it may contain secrets.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("route", &self.route)
            .field("body.len()", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// An entry for a journal; see [`Driver::journal`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalAppend {
    /// The journal's name.
    pub journal: String,
    /// The entry: unique among all entries of the journal.
    pub entry: Bytes,
    /// The position to read from; `None`: nothing is read. 0 is the oldest entry that is kept.
    pub read_from: Option<u64>,
    /// How long appending and reading may take together.
    pub timeout: Duration,
}

impl JournalAppend {
    /// An entry for this journal, without reading.
    #[must_use]
    pub fn new(journal: impl Into<String>, entry: impl Into<Bytes>, timeout: Duration) -> Self {
        Self { journal: journal.into(), entry: entry.into(), read_from: None, timeout }
    }
}

setters!(JournalAppend { read_from: Option<u64>, timeout: Duration });

/// The entries that were read from a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalRead {
    /// The entries in order, up to and including the appended one; empty if nothing was read.
    pub entries: Vec<Bytes>,
    /// The position to read from next.
    pub next: u64,
}

impl JournalRead {
    /// These entries, and where the next reading begins.
    #[must_use]
    pub const fn new(entries: Vec<Bytes>, next: u64) -> Self {
        Self { entries, next }
    }
}

/// Where a message goes. A driver refuses a route that it does not know with [`SendError::Invalid`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// To a topic exchange. The driver first declares and binds the queue that is named like the routing
    /// key, so that nothing is lost before the first listener starts.
    Topic {
        /// The exchange.
        exchange: String,
        /// The routing key: `topic.priority`.
        routing_key: String,
    },
    /// Directly to a queue, which the driver declares first.
    Queue(String),
    /// Directly to a quarantine queue, which the driver declares first: durable, replicated where the
    /// broker supports it, and without a delivery limit.
    Quarantine(String),
    /// Directly to a queue, which the driver declares first, after a delay. Until then the message is in
    /// durable storage, and no crash loses it. It arrives after one to two times the delay.
    Delayed {
        /// The queue.
        queue: String,
        /// The delay: at most [`MAX_DELAY`].
        delay: Duration,
    },
}

impl Route {
    /// Why the name of the queue is invalid, if it is.
    pub(crate) fn mistake(&self) -> Option<String> {
        let (Self::Queue(queue) | Self::Quarantine(queue) | Self::Delayed { queue, .. }) = self
        else {
            return None;
        };
        match queue.len() {
            // A broker would declare a queue with a generated name.
            0 => Some("the name of the queue is empty; expected the name of a queue".to_owned()),
            1..=255 => None,
            bytes => Some(format!("the name of the queue has {bytes} bytes; expected 255 at most")),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic { exchange, routing_key } => {
                write!(f, "exchange {exchange:?} with routing key {routing_key:?}")
            }
            Self::Queue(queue) | Self::Quarantine(queue) => write!(f, "queue {queue:?}"),
            Self::Delayed { queue, delay } => write!(f, "queue {queue:?} after {delay:?}"),
        }
    }
}
