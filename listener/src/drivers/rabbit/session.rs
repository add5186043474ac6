//! One session of a consumer: a connection, a channel, a consumer on each queue, and a
//! generation number. It is attached, served until it ends, and never mended: the next one is
//! made by `supervisor.rs`.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::BasicCancelOptions;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::Core;
use super::consume::{Arrival, Consumers, Maker};
use super::failure::Failure;
use super::hosts::Address;
use super::link::{Link, LinkEvent, LinkEvents, call, close_channel};
use super::options::{CALL_TIMEOUT, CHECK_EVERY};
use super::settle::{Ledger, SessionSettler, write};
use super::topology::Topology;
use crate::transport::delivery::{Delivery, Settle};
use crate::transport::driver::Subscription;

/// So many settlements are taken into one plan.
const BATCH: usize = 256;

pub(super) struct Session {
    pub(super) address: Address,
    pub(super) generation: u64,
    since: Instant,
    events: LinkEvents,
    channel: Channel,
    consumers: Consumers,
    /// Queues for one at a time that did not exist when they were looked for last.
    missing: BTreeSet<Arc<str>>,
    /// All queues for one at a time.
    alone: BTreeSet<Arc<str>>,
    maker: Maker,
    settlements: mpsc::UnboundedReceiver<(u64, Settle)>,
    ledger: Ledger,
    // After what runs over it.
    link: Link,
}

impl Session {
    /// Connects to a host, declares what is missing, and consumes each queue.
    pub(super) async fn attach(
        core: &Core,
        address: &Address,
        subscription: &Subscription,
        generation: u64,
        stale: &Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let options = &core.options;
        let (link, events) = Link::open(options, &core.vhost, address, "consume").await?;
        Topology::new(&link, core)
            .expiring(subscription.expires)
            .subscription(&subscription.bindings)
            .await?;
        let channel = link.channel().await?;
        let prefetch = options.rabbit_qos_prefetch_count.unwrap_or(subscription.prefetch).max(1);
        let mut consumers = Consumers::none();
        for queue in queues(subscription) {
            consumers.add(&channel, options, &queue, prefetch, &link.user).await?;
        }
        let alone: BTreeSet<Arc<str>> =
            subscription.alone.iter().map(|queue| queue.as_str().into()).collect();
        let (settler, settlements) = SessionSettler::new(Arc::clone(stale));
        let mut session = Self {
            address: address.clone(),
            generation,
            since: Instant::now(),
            events,
            channel,
            consumers,
            missing: alone.clone(),
            alone,
            maker: Maker::new(settler),
            settlements,
            ledger: Ledger::default(),
            link,
        };
        session.look_again(core).await?;
        Ok(session)
    }

    /// Consumes those queues for one at a time that were missing, and exist by now.
    pub(super) async fn look_again(&mut self, core: &Core) -> Result<(), Failure> {
        let mut topology = Topology::new(&self.link, core);
        for queue in std::mem::take(&mut self.missing) {
            if topology.exists(&queue).await? {
                let (channel, user) = (&self.channel, &self.link.user);
                self.consumers.add(channel, &core.options, &queue, 1, user).await?;
            } else {
                self.missing.insert(queue);
            }
        }
        Ok(())
    }

    /// How long it has stood.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Forwards deliveries and carries out settlements until the session is lost; why. May be
    /// dropped and called again at any point.
    pub(super) async fn serve(
        &mut self,
        deliveries: Option<&mpsc::UnboundedSender<Delivery>>,
    ) -> String {
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // In this order: what ends the session makes the rest pointless, and settlements
            // make room for deliveries.
            tokio::select! {
                biased;
                event = self.events.next() => {
                    if let LinkEvent::Lost(fault) = event {
                        return fault.to_string();
                    }
                }
                _ = self.settlements.recv_many(&mut batch, BATCH) => {
                    let plan = self.ledger.plan(&batch);
                    batch.clear();
                    if let Err(fault) = write(&self.channel, &plan) {
                        return fault.to_string();
                    }
                }
                Some((queue, arrival)) = self.consumers.arrivals.next(), if deliveries.is_some() => {
                    match arrival {
                        Arrival::Delivery(delivery) => {
                            let delivery = self.maker.delivery(&queue, *delivery);
                            if let Some(deliveries) = deliveries {
                                // It fails when the program has let go of its end: it closes soon.
                                let _ = deliveries.send(delivery);
                            }
                        }
                        Arrival::Fault(fault) => return fault.to_string(),
                        // Nothing is lost with it: it is there again when something is set aside.
                        Arrival::End if self.alone.contains(&queue) => {
                            self.missing.insert(queue);
                        }
                        Arrival::End => {
                            return format!(
                                "the broker cancelled the consumer of queue {queue:?}, as when the queue is deleted"
                            );
                        }
                    }
                }
                _ = check.tick() => {
                    if !self.link.is_up() || !self.channel.status().connected() {
                        return "the connection or its channel is closed".to_owned();
                    }
                }
            }
        }
    }

    /// Stops the consumers; what the broker sent before it confirmed that is forwarded.
    pub(super) async fn cancel(&mut self, deliveries: &mpsc::UnboundedSender<Delivery>) {
        for tag in &self.consumers.tags {
            let cancelled =
                call(self.channel.basic_cancel(tag.clone(), BasicCancelOptions::default()));
            if let Err(fault) = cancelled.await {
                tracing::warn!(%fault, "a consumer could not be cancelled");
                return;
            }
        }
        let forward = async {
            while let Some((queue, arrival)) = self.consumers.arrivals.next().await {
                if let Arrival::Delivery(delivery) = arrival {
                    let _ = deliveries.send(self.maker.delivery(&queue, *delivery));
                }
            }
        };
        if timeout(CALL_TIMEOUT, forward).await.is_err() {
            tracing::warn!("a consumer did not end after it was cancelled");
        }
    }

    /// Carries out the settlements that were asked for, and closes. Those that come later fail.
    pub(super) async fn close(mut self) {
        self.settlements.close();
        let mut batch = Vec::new();
        while let Ok(settlement) = self.settlements.try_recv() {
            batch.push(settlement);
        }
        let plan = self.ledger.plan(&batch);
        let closed = match write(&self.channel, &plan) {
            Ok(()) => close_channel(&self.channel).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = closed {
            tracing::warn!(
                %fault,
                "the last settlements may not have arrived; the broker will deliver again what it has not seen settled"
            );
        }
        self.link.close().await;
    }
}

/// Each queue once, in order.
pub(super) fn queues(subscription: &Subscription) -> Vec<Arc<str>> {
    let mut seen = HashSet::new();
    subscription
        .bindings
        .iter()
        .filter(|binding| seen.insert(&binding.queue))
        .map(|binding| binding.queue.as_str().into())
        .collect()
}
