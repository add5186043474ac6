//! The consumers of quarantine queues. Each takes one delivery at a time over a connection of its own,
//! made once its queue exists, and is attached in the background: a quarantine queue that may not
//! be consumed, or for which RabbitMQ closes the connection because it has no majority, affects
//! neither the work queues nor the other quarantine queues, unless a delivery of it is unsettled.
//! Owned by `session.rs`; the types of these queues are in `quarantine.rs`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::Channel;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use super::consumers::{Arrival, Consumers, Maker, On};
use super::ledger::{Ledger, SessionSettler, Settlements, processed, release_all, write};
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::connection::hosts::Address;
use crate::drivers::rabbit::connection::link::{Link, LinkEvents, Role, close_channel, connect};
use crate::drivers::rabbit::connection::refusal::{Failure, Fault};
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::options::MISTAKE_PAUSE;
use crate::drivers::rabbit::topology::Topology;
use crate::drivers::rabbit::topology::delivery_limit;
use crate::transport::delivery::Delivery;

/// What a consumer needs besides its queue.
#[derive(Clone)]
struct Shared {
    /// The session's.
    link: Arc<Link>,
    address: Address,
    core: Arc<Core>,
    stale: Arc<AtomicU64>,
    /// Notified when a settlement waits, of these consumers or of the session's others.
    came: Arc<Notify>,
}

/// A queue that was looked for, and its consumer unless the queue is missing.
type Looked = (Arc<str>, Result<Option<Consumed>, Failure>);

/// The quarantine queues of a session.
pub(crate) struct Quarantined {
    shared: Shared,
    consumed: Vec<Consumed>,
    /// Queues without a consumer, each with the failure that was logged last.
    idle: BTreeMap<Arc<str>, Option<String>>,
    looking: JoinSet<Looked>,
    /// It was asked to look again while it was looking.
    again: bool,
    /// When it looks again by itself.
    retry: Option<Pin<Box<Sleep>>>,
}

impl Quarantined {
    /// Begins to look for these queues.
    pub(crate) fn new(
        (link, address): (Arc<Link>, Address),
        core: Arc<Core>,
        stale: Arc<AtomicU64>,
        came: Arc<Notify>,
        queues: &[String],
    ) -> Self {
        let mut quarantined = Self {
            shared: Shared { link, address, core, stale, came },
            consumed: Vec::new(),
            idle: queues.iter().map(|queue| (queue.as_str().into(), None)).collect(),
            looking: JoinSet::new(),
            again: false,
            retry: None,
        };
        quarantined.look();
        quarantined
    }

    /// Looks for those queues that have no consumer, each in a task of its own: a quorum queue
    /// without a majority answers late.
    pub(crate) fn look(&mut self) {
        if !self.looking.is_empty() {
            self.again = true;
            return;
        }
        for queue in self.idle.keys() {
            let (shared, queue) = (self.shared.clone(), Arc::clone(queue));
            self.looking.spawn(async move {
                let consumed = Consumed::attach(&shared, &queue).await;
                (queue, consumed)
            });
        }
    }

    /// The next delivery. May be dropped and called again at any point.
    ///
    /// # Errors
    /// A consumer is lost whose delivery is unsettled: the broker gives it out again while a method
    /// may be at work on it. Only the end of the session tells the listener.
    pub(crate) async fn next(&mut self) -> Result<Delivery, Failure> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery, Failure>> {
        loop {
            let mut at = 0;
            while at < self.consumed.len() {
                let one = &mut self.consumed[at];
                if let Poll::Ready(fault) = one.events.poll_lost(context) {
                    self.lost(at, fault.into())?;
                    continue;
                }
                match one.consumers.arrivals.poll_next_unpin(context) {
                    Poll::Ready(Some((_, Arrival::Delivery(delivery)))) => {
                        one.is_held = true;
                        return Poll::Ready(Ok(one.maker.delivery(&one.queue, *delivery)));
                    }
                    Poll::Ready(Some((_, Arrival::Fault(fault)))) => self.lost(at, fault.into())?,
                    Poll::Ready(Some((_, Arrival::End)) | None) => {
                        let failure = cancelled(&one.queue);
                        self.lost(at, failure)?;
                    }
                    Poll::Pending => at += 1,
                }
            }
            if self.retry.as_mut().is_some_and(|retry| retry.as_mut().poll(context).is_ready()) {
                self.retry = None;
                self.look();
            }
            match self.looking.poll_join_next(context) {
                Poll::Ready(Some(Ok(looked))) => self.looked(looked),
                Poll::Ready(Some(Err(error))) => tracing::error!(%error, "a task has failed"),
                Poll::Ready(None) if self.again => {
                    self.again = false;
                    self.look();
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn looked(&mut self, (queue, result): Looked) {
        match result {
            Ok(Some(consumed)) => {
                self.idle.remove(&queue);
                let seen = self.shared.core.known.queue(&queue);
                if let Some(limit) = seen.and_then(|seen| seen.limits.deliveries) {
                    delivery_limit::tell_of_quarantine(&queue, limit, consumed.link.version);
                }
                self.consumed.push(consumed);
            }
            Ok(None) => drop(self.idle.insert(queue, None)),
            Err(failure) => self.failed(&queue, &failure),
        }
    }

    fn lost(&mut self, at: usize, failure: Failure) -> Result<(), Failure> {
        let Consumed { queue, is_held, .. } = self.consumed.swap_remove(at);
        if is_held {
            return Err(failure);
        }
        self.failed(&queue, &failure);
        Ok(())
    }

    fn failed(&mut self, queue: &Arc<str>, failure: &Failure) {
        // The end of the connection is the session's to log.
        if !self.shared.link.is_up() {
            return;
        }
        if failure.passes() && self.retry.is_none() {
            self.retry = Some(Box::pin(sleep(MISTAKE_PAUSE)));
        }
        let reason = failure.to_string();
        let logged = self.idle.insert(Arc::clone(queue), Some(reason.clone())).flatten();
        if logged.as_deref() != Some(reason.as_str()) {
            tracing::warn!(
                %queue,
                reason,
                "the quarantine queue cannot be consumed; it is tried again, and the work queues are consumed without it"
            );
        }
    }

    /// Writes the settlements that wait.
    ///
    /// # Errors
    /// As `next`.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let mut at = 0;
        while at < self.consumed.len() {
            match self.consumed[at].settle() {
                Ok(()) => at += 1,
                Err(fault) => self.lost(at, fault.into())?,
            }
        }
        Ok(())
    }

    /// Stops the consumers. Those deliveries that came before.
    pub(crate) async fn cancel(&mut self) -> Vec<Delivery> {
        self.look_no_more();
        let came = join_all(self.consumed.iter_mut().map(Consumed::cancel)).await;
        came.into_iter().flatten().collect()
    }

    /// Keeps the consumers that are attached by now, and aborts the rest.
    fn look_no_more(&mut self) {
        while let Some(looked) = self.looking.try_join_next() {
            if let Ok(looked) = looked {
                self.looked(looked);
            }
        }
        (self.looking, self.again, self.retry) = (JoinSet::new(), false, None);
    }

    /// Writes the settlements that wait, returns what is unsettled and closes the connections, until
    /// then. Later settlements fail.
    pub(crate) async fn leave(&mut self, until: Instant) {
        self.look_no_more();
        join_all(self.consumed.iter_mut().map(|one| one.leave(until))).await;
    }
}

/// One quarantine queue that is consumed.
struct Consumed {
    queue: Arc<str>,
    events: LinkEvents,
    channel: Channel,
    consumers: Consumers,
    maker: Maker,
    settlements: Settlements,
    ledger: Ledger,
    /// A delivery of it is unsettled.
    is_held: bool,
    // After what runs over it.
    link: Link,
}

impl Consumed {
    /// None if the queue is missing.
    async fn attach(shared: &Shared, queue: &Arc<str>) -> Result<Option<Self>, Failure> {
        let Shared { link, address, core, stale, came } = shared;
        let mut topology = Topology::new(link, core);
        // Each time: it may have been deleted and declared anew.
        if !topology.exists(queue).await? || !topology.see_quarantine(queue).await? {
            core.known.is_gone(queue);
            return Ok(None);
        }
        let limit = core.options.connection_timeout;
        let (link, events) = connect(core, address, Role::Quarantine, limit).await?;
        let (channel, consumers) = match consume(core, &link, queue).await {
            Ok(consumed) => consumed,
            Err(failure) => {
                link.close().await;
                return Err(failure);
            }
        };
        let (settler, settlements) = SessionSettler::new(Arc::clone(stale), Arc::clone(came));
        let maker = Maker::new(Arc::clone(core), link.version, settler);
        let (queue, ledger, is_held) = (Arc::clone(queue), Ledger::default(), false);
        Ok(Some(Self {
            queue,
            events,
            channel,
            consumers,
            maker,
            settlements,
            ledger,
            is_held,
            link,
        }))
    }

    fn settle(&mut self) -> Result<(), Fault> {
        let flushes = self.settlements.flushes();
        let mut batch = Vec::new();
        self.settlements.take(&mut batch);
        write(&self.channel, &self.ledger.plan(&batch))?;
        // There is one at most.
        self.is_held &= batch.is_empty();
        if !flushes.is_empty() {
            tokio::spawn(processed(self.channel.clone(), flushes));
        }
        Ok(())
    }

    async fn cancel(&mut self) -> Vec<Delivery> {
        let mut came = Vec::new();
        if let Err(fault) = self.consumers.cancel(&self.channel).await {
            tracing::warn!(queue = %self.queue, %fault, "a consumer could not be cancelled");
            return came;
        }
        while let Some((_, arrival)) = self.consumers.arrivals.next().await {
            if let Arrival::Delivery(delivery) = arrival {
                came.push(self.maker.delivery(&self.queue, *delivery));
            }
        }
        came
    }

    async fn leave(&mut self, until: Instant) {
        self.settlements.close();
        let left = async {
            self.settle()?;
            if self.link.version.is_some_and(Version::counts_closed_channels) {
                self.consumers.cancel(&self.channel).await?;
                release_all(&self.channel)?;
            }
            close_channel(&self.channel).await
        };
        let late = || Err(Fault::Other("no answer in time".to_owned()));
        let left: Result<(), Fault> = timeout_at(until, left).await.unwrap_or_else(|_| late());
        match left {
            // Cut when it is dropped, where there is no time to close it.
            Ok(()) => drop(timeout_at(until, self.link.close()).await),
            Err(fault) => {
                tracing::warn!(queue = %self.queue, %fault, "the last settlement may not have arrived");
            }
        }
    }
}

/// Consumes the queue over a channel of this connection, one delivery at a time.
async fn consume(
    core: &Core,
    link: &Link,
    queue: &Arc<str>,
) -> Result<(Channel, Consumers), Failure> {
    let channel = link.channel().await?;
    let mut consumers = Consumers::none();
    let on = On { channel: &channel, options: &core.options, user: &link.user };
    consumers.add(on, Arc::clone(queue), None, 1).await?;
    Ok((channel, consumers))
}

/// What it means that the broker ended a consumer of a queue.
pub(crate) fn cancelled(queue: &str) -> Failure {
    Failure::transient(format!(
        "the broker cancelled the consumer of queue {queue:?}, as when the queue is deleted, or when a delivery was unsettled for longer than the consumer timeout of a quorum queue (RabbitMQ 4.3): set a shorter handler_timeout then"
    ))
}
