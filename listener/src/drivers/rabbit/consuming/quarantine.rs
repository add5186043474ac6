//! The consumers of quarantine queues. Each has a prefetch of 1 and a connection of its own, and is
//! attached in the background once its queue exists. So a quarantine queue that may not be consumed, or
//! for which RabbitMQ closes the connection because it has no majority, affects neither the work queues
//! nor other quarantine queues, unless a delivery of it is unsettled. Owned by `session.rs`; the types
//! of the queues are in `topology/side_queue.rs`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::Channel;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use super::consumers::{Arrival, ConsumeContext, Consumers, DeliveryMaker};
use super::settlements::{AckMerger, SessionSettler, Settlements, flush, write};
use crate::drivers::rabbit::connection::channel::{close_channel, nack_all};
use crate::drivers::rabbit::connection::failure::{Failure, Fault};
use crate::drivers::rabbit::connection::hosts::Address;
use crate::drivers::rabbit::connection::link::{Connected, Link, LinkEvents, Role, connect};
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::topology::channel::TopologyChannel;
use crate::drivers::rabbit::topology::delivery_limit;
use crate::drivers::rabbit::topology::inspect::record_quarantine_queue;
use crate::transport::delivery::Delivery;

/// How long after a transient failure attaching is tried again.
const RETRY_QUARANTINE_AFTER: Duration = Duration::from_secs(30);

/// What all consumers of a session need.
#[derive(Clone)]
pub(crate) struct QuarantineContext {
    /// The session's.
    pub(crate) link: Arc<Link>,
    pub(crate) address: Address,
    pub(crate) core: Arc<Core>,
    /// Counts settlements after the end of their session.
    pub(crate) stale: Arc<AtomicU64>,
    /// Notified when settlements wait, of these consumers or of the work queues.
    pub(crate) notify: Arc<Notify>,
}

/// A queue, and its consumer if the queue exists.
type Attached = (Arc<str>, Result<Option<QuarantineConsumer>, Failure>);

/// The consumers of a session's quarantine queues.
pub(crate) struct QuarantineConsumers {
    context: QuarantineContext,
    consumers: Vec<QuarantineConsumer>,
    /// Queues without a consumer, each with the failure that was logged last.
    idle: BTreeMap<Arc<str>, Option<String>>,
    attaching: JoinSet<Attached>,
    /// `recheck` was called while it was attaching.
    again: bool,
    /// The next attempt after a failure.
    retry: Option<Pin<Box<Sleep>>>,
}

impl QuarantineConsumers {
    /// Begins to attach consumers to these queues.
    pub(crate) fn new(context: QuarantineContext, queues: &[String]) -> Self {
        let mut consumers = Self {
            context,
            consumers: Vec::new(),
            idle: queues.iter().map(|queue| (queue.as_str().into(), None)).collect(),
            attaching: JoinSet::new(),
            again: false,
            retry: None,
        };
        consumers.recheck();
        consumers
    }

    /// Attaches consumers to the queues that have none, each in a task of its own, because a quorum
    /// queue without a majority answers late.
    pub(crate) fn recheck(&mut self) {
        if !self.attaching.is_empty() {
            self.again = true;
            return;
        }
        for queue in self.idle.keys() {
            let (context, queue) = (self.context.clone(), Arc::clone(queue));
            self.attaching.spawn(async move {
                let consumer = QuarantineConsumer::attach(&context, &queue).await;
                (queue, consumer)
            });
        }
    }

    /// The next delivery. May be dropped and called again at any point.
    ///
    /// # Errors
    /// A consumer with an unsettled delivery is lost: the broker redelivers it while a method may still
    /// handle it. Only the end of the session informs the listener.
    pub(crate) async fn next(&mut self) -> Result<Delivery, Failure> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery, Failure>> {
        loop {
            let mut at = 0;
            while at < self.consumers.len() {
                let one = &mut self.consumers[at];
                if let Poll::Ready(fault) = one.events.poll_lost(context) {
                    self.lost(at, fault.into())?;
                    continue;
                }
                match one.consumers.arrivals.poll_next_unpin(context) {
                    Poll::Ready(Some((_, Arrival::Delivery(delivery)))) => {
                        one.is_unsettled = true;
                        return Poll::Ready(Ok(one.maker.make(&one.queue, *delivery)));
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
                self.recheck();
            }
            match self.attaching.poll_join_next(context) {
                Poll::Ready(Some(Ok(attached))) => self.attached(attached),
                Poll::Ready(Some(Err(error))) => {
                    tracing::error!(%error, "the task that attaches a quarantine consumer panicked");
                }
                Poll::Ready(None) if self.again => {
                    self.again = false;
                    self.recheck();
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn attached(&mut self, (queue, result): Attached) {
        match result {
            Ok(Some(consumer)) => {
                self.idle.remove(&queue);
                let properties = self.context.core.broker.queue(&queue);
                if let Some(limit) = properties.and_then(|queue| queue.limits.deliveries) {
                    delivery_limit::check_quarantine(&queue, limit, consumer.link.version);
                }
                self.consumers.push(consumer);
            }
            Ok(None) => drop(self.idle.insert(queue, None)),
            Err(failure) => self.failed(&queue, &failure),
        }
    }

    fn lost(&mut self, at: usize, failure: Failure) -> Result<(), Failure> {
        let QuarantineConsumer { queue, is_unsettled, .. } = self.consumers.swap_remove(at);
        if is_unsettled {
            return Err(failure);
        }
        self.failed(&queue, &failure);
        Ok(())
    }

    fn failed(&mut self, queue: &Arc<str>, failure: &Failure) {
        // If the session has lost its connection, that is logged.
        if !self.context.link.is_up() {
            return;
        }
        if failure.is_transient() && self.retry.is_none() {
            self.retry = Some(Box::pin(sleep(RETRY_QUARANTINE_AFTER)));
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

    /// Writes the waiting settlements.
    ///
    /// # Errors
    /// As `next`.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let mut at = 0;
        while at < self.consumers.len() {
            match self.consumers[at].settle() {
                Ok(()) => at += 1,
                Err(fault) => self.lost(at, fault.into())?,
            }
        }
        Ok(())
    }

    /// Cancels the consumers. Returns the deliveries that arrive before the broker has confirmed it.
    pub(crate) async fn cancel(&mut self) -> Vec<Delivery> {
        self.stop_attaching();
        let received = join_all(self.consumers.iter_mut().map(QuarantineConsumer::cancel)).await;
        received.into_iter().flatten().collect()
    }

    /// Keeps the consumers that are attached by now, and aborts the others.
    fn stop_attaching(&mut self) {
        while let Some(attached) = self.attaching.try_join_next() {
            if let Ok(attached) = attached {
                self.attached(attached);
            }
        }
        (self.attaching, self.again, self.retry) = (JoinSet::new(), false, None);
    }

    /// Writes the waiting settlements, requeues unsettled deliveries and closes the connections, by
    /// `until`. Later settlements fail.
    pub(crate) async fn leave(&mut self, until: Instant) {
        self.stop_attaching();
        join_all(self.consumers.iter_mut().map(|one| one.leave(until))).await;
    }
}

/// The consumer of one quarantine queue.
struct QuarantineConsumer {
    queue: Arc<str>,
    events: LinkEvents,
    channel: Channel,
    consumers: Consumers,
    maker: DeliveryMaker,
    settlements: Settlements,
    merger: AckMerger,
    is_unsettled: bool,
    // Last: what uses the connection is dropped first.
    link: Link,
}

impl QuarantineConsumer {
    /// None if the queue is missing.
    async fn attach(
        context: &QuarantineContext,
        queue: &Arc<str>,
    ) -> Result<Option<Self>, Failure> {
        let QuarantineContext { link, address, core, stale, notify } = context;
        let mut topology = TopologyChannel::new(link, core);
        // Each time, because the queue may have been deleted and declared again.
        if !topology.exists(queue).await? || !record_quarantine_queue(&mut topology, queue).await? {
            core.broker.record_missing(queue);
            return Ok(None);
        }
        let limit = core.options.connection_timeout;
        let Connected { link, events } = connect(core, address, Role::Quarantine, limit).await?;
        let (channel, consumers) = match consume(core, &link, queue).await {
            Ok(attached) => attached,
            Err(failure) => {
                link.close().await;
                return Err(failure);
            }
        };
        let (settler, settlements) = SessionSettler::new(Arc::clone(stale), Arc::clone(notify));
        let maker = DeliveryMaker::new(Arc::clone(core), link.version, settler);
        let (queue, merger, is_unsettled) = (Arc::clone(queue), AckMerger::default(), false);
        Ok(Some(Self {
            queue,
            events,
            channel,
            consumers,
            maker,
            settlements,
            merger,
            is_unsettled,
            link,
        }))
    }

    fn settle(&mut self) -> Result<(), Fault> {
        let flushes = self.settlements.flushes();
        let mut batch = Vec::new();
        self.settlements.take(&mut batch);
        write(&self.channel, &self.merger.plan(&batch))?;
        // There is one unsettled delivery at most.
        self.is_unsettled &= batch.is_empty();
        if !flushes.is_empty() {
            tokio::spawn(flush(self.channel.clone(), flushes));
        }
        Ok(())
    }

    async fn cancel(&mut self) -> Vec<Delivery> {
        let mut received = Vec::new();
        if let Err(fault) = self.consumers.cancel_all(&self.channel).await {
            tracing::warn!(queue = %self.queue, %fault, "a consumer could not be cancelled");
            return received;
        }
        while let Some((_, arrival)) = self.consumers.arrivals.next().await {
            if let Arrival::Delivery(delivery) = arrival {
                received.push(self.maker.make(&self.queue, *delivery));
            }
        }
        received
    }

    async fn leave(&mut self, until: Instant) {
        self.settlements.close();
        let left = async {
            self.settle()?;
            if self.link.version.is_some_and(Version::counts_closed_channels) {
                self.consumers.cancel_all(&self.channel).await?;
                nack_all(&self.channel)?;
            }
            close_channel(&self.channel).await
        };
        let late = || Err(Fault::Other("no answer in time".to_owned()));
        let left: Result<(), Fault> = timeout_at(until, left).await.unwrap_or_else(|_| late());
        match left {
            // If there is no time to close it, it is cut when it is dropped.
            Ok(()) => drop(timeout_at(until, self.link.close()).await),
            Err(fault) => {
                tracing::warn!(queue = %self.queue, %fault, "the last settlement may not have arrived");
            }
        }
    }
}

/// Attaches a consumer with a prefetch of 1.
async fn consume(
    core: &Core,
    link: &Link,
    queue: &Arc<str>,
) -> Result<(Channel, Consumers), Failure> {
    let channel = link.channel().await?;
    let mut consumers = Consumers::new();
    let context = ConsumeContext { channel: &channel, options: &core.options, user: &link.user };
    consumers.add(context, Arc::clone(queue), None, 1).await?;
    Ok((channel, consumers))
}

/// The failure of a consumer that the broker has cancelled.
pub(crate) fn cancelled(queue: &str) -> Failure {
    Failure::transient(format!(
        "the broker cancelled the consumer of queue {queue:?}: for example, the queue was deleted, or a delivery of a quorum queue was unsettled for longer than the consumer timeout (since RabbitMQ 4.3): set a shorter handler_timeout in that case"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RabbitMQ 4.3 cancels the consumer without a reason where earlier versions close the channel.
    #[test]
    fn a_cancelled_consumer_has_the_fix_of_a_consumer_timeout() {
        let Failure::Transient { reason, .. } = cancelled("q") else { panic!("it reconnects") };
        assert!(reason.contains("set a shorter handler_timeout"), "{reason}");
    }
}
