//! The contract of a driver: what the runtime and the notifier ask of a broker, and nothing
//! more. `drivers/memory` and `drivers/rabbit` keep it; `tests/conformance` holds them to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::future::BoxFuture;
use crate::transport::delivery::{Delivery, Properties};
use crate::transport::demand::Demand;
use crate::transport::error::{ConnectError, JournalError, SendError};

/// The longest wait that can be asked for: a longer one is cut to it, so that no driver meets
/// a time that cannot be.
pub const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest delay that a driver is asked for (`Route::Delayed`): the runtime has a copy with a
/// longer one go round until its time is over.
pub const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

/// A broker, or something that stands for one.
pub trait Driver: Send + Sync + 'static {
    /// Declares what is missing, attaches a consumer to each queue, and delivers.
    ///
    /// Called once for each start of a listener. A transient failure (a broker that cannot be reached)
    /// is waited out for `subscription.timeout`; a mistake (a wrong password, a queue with
    /// other arguments) is an error at once. Once this has returned, a session that is
    /// lost is made again for as long as the consumer is not closed, and no error comes
    /// any more: `Consumer::state` tells.
    ///
    /// Dropping the future gives up; nothing stays behind.
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>>;

    /// Sends a message, and returns when the broker has it safe: persistent, confirmed, and
    /// routed to at least one queue.
    ///
    /// A connection that is lost before the confirmation is made again and the message sent
    /// again, until `outgoing.timeout` is over: a message may arrive twice, and one for
    /// which this returned `Ok` is never lost. Many sends may be in flight at once.
    /// Dropping the future stops waiting; whether the message was sent is then unknown.
    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>>;

    /// Appends an entry to a journal, which is created first where it is missing, and reads what
    /// other processes have appended.
    ///
    /// A journal is one sequence of entries that every process reads in the same order, durable
    /// like a queue; old entries may be dropped once it holds a megabyte or more. The runtime
    /// records there which suspects a process has begun, so that a death can be told from an
    /// orderly stop. Returns once the entry is confirmed and, where `read_from` is set, all
    /// entries from that position up to this one have been read. Entries are unique.
    ///
    /// # Errors
    /// [`JournalError::Unsupported`]: this driver or this broker has no journals, or the user may
    /// not use them. The default. [`JournalError::Lost`]: the broker keeps the name of a journal and
    /// has lost the rest. [`JournalError::Unreachable`]: no answer within `append.timeout`, or the
    /// broker is away.
    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        let reason = format!("the driver keeps no journal {:?}", append.journal);
        Box::pin(std::future::ready(Err(JournalError::Unsupported(reason))))
    }

    /// What keeps messages from being sent at present, such as a broker that is short of
    /// memory; `None` when nothing is known to.
    fn obstacle(&self) -> Option<String> {
        None
    }

    /// Closes what `send` and `journal` opened, once those in flight are done. A later call opens
    /// it again.
    fn close(&self) -> BoxFuture<'_, ()>;
}

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
    /// The queues, each with what is bound to it; a queue may stand here more than once.
    pub bindings: Vec<Binding>,
    /// How many deliveries of one queue may be unsettled at once; never 0.
    pub prefetch: u16,
    /// How long a broker that cannot be reached is waited for before the first attachment.
    pub timeout: Duration,
    /// Set for queues that nobody needs any more once nobody consumes: those that are
    /// declared for this subscription go away, with what they hold, when they have been
    /// without a consumer for so long. What exists already is used as it is.
    pub expires: Option<Duration>,
    /// Quarantine queues, whose deliveries are worked on one at a time: each that exists is
    /// consumed with a prefetch of 1. One that does not is not declared, and left out until
    /// `Consumer::look_again` or the next session.
    pub quarantine: Vec<String>,
    /// How many bytes of bodies may be unsettled at once, over all queues. Once it is reached
    /// nothing more is taken until some are settled. One delivery of each queue is let through
    /// however large it is, and what is on its way already comes too.
    pub bytes: usize,
    /// How many deliveries the listener works on at once. With it a driver may adapt the prefetch to
    /// the pace of settlements, up to `prefetch`, so that other consumers of the queue get their
    /// share; `None`: always the whole prefetch.
    pub slots: Option<usize>,
}

impl Subscription {
    /// A subscription to these queues, of so many unsettled deliveries each, which waits so long for a
    /// broker that cannot be reached: without quarantine queues, a limit on bytes or an adaptive prefetch.
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

/// A queue, and a routing key of an exchange that feeds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Binding {
    /// The topic exchange; empty: the queue is declared and taken as it is, bound to nothing.
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

/// A subscription that stands: deliveries come out of the channel until the consumer is
/// cancelled and the last of them is taken, or it is closed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Subscribed {
    /// The deliveries, at most `prefetch` of each queue unsettled.
    pub deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// The hold on the subscription.
    pub consumer: Box<dyn Consumer>,
    /// Where the listener reports that it could begin more deliveries.
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

/// The hold on a subscription. Dropping it closes the subscription without waiting.
pub trait Consumer: Send + Sync + fmt::Debug {
    /// Takes nothing new: returns once the broker sends nothing more. What was delivered can
    /// still be settled.
    fn cancel(&self) -> BoxFuture<'_, ()>;

    /// Carries out the settlements that were asked for, then closes. What is unsettled is the
    /// broker's again: it returns to its queue in its old order, and as not tried where the
    /// broker can tell the two apart.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;

    /// Looks again for those of `Subscription::quarantine` that were missing, and consumes those
    /// that exist by now. Returns at once.
    fn look_again(&self);

    /// How the connection is, now and when it changes.
    fn state(&self) -> watch::Receiver<ConnectionState>;
}

/// How a consumer's connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Every queue has its consumer.
    Attached,
    /// There is no session; a new one is being made.
    Lost {
        /// What ended the last session, or made the last attempt fail.
        reason: Arc<str>,
    },
    /// Cancelled or closed.
    Closed,
}

/// A message to send.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outgoing {
    /// Where to.
    pub route: Route,
    /// The body.
    pub body: Bytes,
    /// What it says of itself. A driver sends all of it, each header with its type.
    pub properties: Properties,
    /// How long the whole of it may take: reconnecting, sending, the confirmation.
    pub timeout: Duration,
}

impl Outgoing {
    /// A message without properties.
    #[must_use]
    pub fn new(route: Route, body: impl Into<Bytes>, timeout: Duration) -> Self {
        Self { route, body: body.into(), properties: Properties::default(), timeout }
    }
}

setters!(Outgoing { route: Route, body: Bytes, properties: Properties, timeout: Duration });

/// Shows no body: it may hold secrets.
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
    /// Where to begin reading; `None`: nothing is read. 0 is the oldest entry that is kept.
    pub read_from: Option<u64>,
    /// How long the whole of it may take.
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

/// What was read of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalRead {
    /// The entries in order, up to and with the one that was appended; empty if nothing was read.
    pub entries: Vec<Bytes>,
    /// Where the next reading begins.
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
    /// To a topic exchange. The queue that is named as the routing key is declared and
    /// bound first, so that nothing is lost before the first listener comes.
    Topic {
        /// The exchange.
        exchange: String,
        /// The routing key: `topic.priority`.
        routing_key: String,
    },
    /// Straight into a queue, which is declared first.
    Queue(String),
    /// Straight into a quarantine queue, which is declared first: durable, replicated where the
    /// broker can do that, and without a limit on deliveries.
    Quarantine(String),
    /// Straight into a queue, which is declared first, but not before `delay` is over. Until
    /// then it stands somewhere durable, and no crash at any point loses it. It may come
    /// later than asked for, at most by as much again.
    Delayed {
        /// The queue.
        queue: String,
        /// How long it is held back: at most [`LONGEST_DELAY`].
        delay: Duration,
    },
}

impl Route {
    /// Why no broker can have the queue that it names.
    pub(crate) fn mistake(&self) -> Option<String> {
        let (Self::Queue(queue) | Self::Quarantine(queue) | Self::Delayed { queue, .. }) = self
        else {
            return None;
        };
        match queue.len() {
            // A broker would declare one with a name of its own.
            0 => Some("the name of the queue is empty; expected that of a queue".to_owned()),
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
