//! One session of a consumer: a connection, a channel, a consumer on each queue, and a generation
//! number. It is attached, and served until it ends. It is never repaired: `supervisor.rs` makes the
//! next one.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout, timeout_at};

use super::consumers::{Arrival, ConsumeContext, ConsumerHandle, Consumers, DeliveryMaker};
use super::prefetch::PrefetchController;
use super::quarantine::{QuarantineConsumers, QuarantineContext, cancelled};
use super::settlements::{
    AckMerger, BATCHES_PER_PREFETCH, SessionSettler, Settlements, flush, write,
};
use crate::drivers::rabbit::connection::channel::{close_channel, nack_all};
use crate::drivers::rabbit::connection::failure::{Failure, Fault};
use crate::drivers::rabbit::connection::hosts::Address;
use crate::drivers::rabbit::connection::link::{Connected, Link, LinkEvent, LinkEvents, Role};
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::options::{CALL_TIMEOUT, CHECK_EVERY};
use crate::drivers::rabbit::topology::channel::TopologyChannel;
use crate::drivers::rabbit::topology::inspect::single_active_consumer;
use crate::drivers::rabbit::topology::permissions::check_readable;
use crate::drivers::rabbit::topology::{copy_permissions, subscription};
use crate::drivers::rabbit::workarounds::ready::drain_ready;
use crate::transport::delivery::{Delivery, Settle};
use crate::transport::demand::Demand;
use crate::transport::driver::Subscription;

/// The most deliveries that are forwarded before settlements are checked.
const BATCH: usize = 256;

/// The least number of deliveries that arrive together and count as a flow.
const MIN_FLOW: usize = 8;

/// How long deliveries accumulate at most, while others wait to be handled or while they flow. An
/// `error` may be delayed by this, and a settlement waits for others for up to twice this. tokio's timer
/// may add a millisecond to each.
const TICK: Duration = Duration::from_millis(1);

/// For how many ticks settlements are delayed while the prefetch of a quorum queue should grow and its
/// consumer does not hold its whole prefetch: if the broker has more messages, it sends them meanwhile.
const MAX_DELAYED_TICKS: u32 = 100;

/// When nothing has arrived for this time, no more deliveries are expected.
const NO_MORE_AFTER: Duration = Duration::from_millis(500);

/// Deliveries that are not forwarded yet, each with its consumer.
type Received = Vec<(Arc<ConsumerHandle>, Box<lapin::message::Delivery>)>;

/// Where deliveries are forwarded to.
pub(crate) struct DeliverySink {
    pub(crate) deliveries: mpsc::UnboundedSender<Delivery>,
    pub(crate) demand: Arc<Demand>,
}

impl DeliverySink {
    /// Does nothing if the program has dropped the receiver, as it may before it closes the consumer.
    fn send(&self, delivery: Delivery) {
        self.demand.sent();
        let _ = self.deliveries.send(delivery);
    }
}

/// Why a session is not served any more.
pub(crate) enum SessionEvent {
    /// It is lost, for this reason.
    Lost(String),
    /// Consumers are to be replaced by ones with another prefetch.
    ReplaceConsumers,
}

pub(crate) struct Session {
    core: Arc<Core>,
    pub(crate) address: Address,
    pub(crate) generation: u64,
    since: Instant,
    events: LinkEvents,
    channel: Channel,
    consumers: Consumers,
    prefetch: PrefetchController,
    quarantine: QuarantineConsumers,
    maker: DeliveryMaker,
    /// A replacement of consumers was not completed: the broker may have consumers that the session does
    /// not know.
    has_unfinished_replacement: bool,
    settlements: Settlements,
    /// Whether some settlements have been waiting since the last tick.
    waited_since_tick: bool,
    /// For how many more ticks they may be delayed.
    delayable_ticks: u32,
    batch: Vec<(u64, Settle)>,
    merger: AckMerger,
    // Last: what uses the connection is dropped first.
    link: Arc<Link>,
}

impl Session {
    /// Declares what is missing, and consumes each queue.
    pub(crate) async fn attach(
        core: &Arc<Core>,
        address: &Address,
        Connected { link, events }: Connected,
        subscription: &Subscription,
        generation: u64,
        stale: &Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let options = &core.options;
        let max_prefetch = max_prefetch(core, subscription);
        let link = Arc::new(link);
        let mut topology = TopologyChannel::new(&link, core).expiring(subscription.expires);
        subscription::declare(&mut topology, &subscription.bindings).await?;
        let queues = queues(subscription);
        let slots = subscription.slots.unwrap_or(usize::MAX);
        let mut prefetch =
            PrefetchController::new(subscription.bytes, max_prefetch, slots, queues.len());
        // All that may fail is checked before the first consumer is attached. Deliveries of an abandoned
        // consumer count although nobody has seen them, and a quorum queue drops messages at its limit.
        for (index, queue) in queues.iter().enumerate() {
            check_readable(&mut topology, queue).await?;
            if prefetch.is_adaptive() || counts_closed_channels(&link) {
                let single = single_active_consumer(&mut topology, queue).await?;
                prefetch.set_properties(index, single, core.broker.may_be_quorum(queue));
            }
        }
        let record_check = |queue: &Arc<str>| core.broker.record_permission_check(queue);
        if generation == 1 && queues.first().is_some_and(record_check) {
            copy_permissions::warn_of_missing(&link, core, address, subscription).await;
        }
        let channel = link.channel().await?;
        let mut consumers = Consumers::new();
        // What cannot be foreseen, such as an exclusive consumer on a queue, fails before anything is
        // delivered from the second attempt on.
        for index in core.broker.failed_first(&queues) {
            let context = ConsumeContext { channel: &channel, options, user: &link.user };
            let (id, count) = prefetch.next_consumer(index);
            let added = consumers.add(context, Arc::clone(&queues[index]), Some(id), count).await;
            if let Err(failure) = added {
                core.broker.failed_to_consume(&queues[index]);
                return Err(failure);
            }
        }
        let notify = Arc::new(Notify::new());
        let (settler, settlements) = SessionSettler::new(Arc::clone(stale), Arc::clone(&notify));
        settlements.set_batch_size(prefetch.largest());
        let quarantine = QuarantineContext {
            link: Arc::clone(&link),
            address: address.clone(),
            core: Arc::clone(core),
            stale: Arc::clone(stale),
            notify,
        };
        Ok(Self {
            core: Arc::clone(core),
            address: address.clone(),
            generation,
            since: Instant::now(),
            events,
            channel,
            consumers,
            prefetch,
            quarantine: QuarantineConsumers::new(quarantine, &subscription.quarantine),
            maker: DeliveryMaker::new(Arc::clone(core), link.version, settler),
            has_unfinished_replacement: false,
            settlements,
            waited_since_tick: false,
            delayable_ticks: MAX_DELAYED_TICKS,
            batch: Vec::new(),
            merger: AckMerger::default(),
            link,
        })
    }

    /// Consumes quarantine queues that were missing and now exist.
    pub(crate) fn recheck_quarantine_queues(&mut self) {
        self.quarantine.recheck();
    }

    /// Replaces the consumers whose prefetch is to change, because the prefetch of a consumer cannot be
    /// changed. The new ones are attached first: a queue may be deleted with its last consumer, together
    /// with its messages. Deliveries of both are forwarded in the order of their tags, so that the order
    /// of a queue is kept. Nothing is settled meanwhile, so that a quorum queue delivers nothing to
    /// consumers that are being cancelled.
    pub(crate) async fn replace_consumers(
        &mut self,
        sink: Option<&DeliverySink>,
    ) -> Result<(), Failure> {
        self.has_unfinished_replacement = true;
        let old = self.consumers.replaceable(&self.prefetch);
        for (id, queue) in old.iter().filter_map(|handle| Some((handle.id?, &handle.queue))) {
            let (channel, user) = (&self.channel, self.link.user.as_str());
            let context = ConsumeContext { channel, options: &self.core.options, user };
            let (id, count) = self.prefetch.next_consumer(id.queue());
            self.consumers.add(context, Arc::clone(queue), Some(id), count).await?;
        }
        self.settlements.set_batch_size(self.prefetch.largest());
        self.consumers.cancel(&self.channel, &old).await?;
        let mut received =
            timeout(CALL_TIMEOUT, self.until_ended(old)).await.unwrap_or_else(|_| {
                Err(Failure::transient("a consumer did not end after it was cancelled".to_owned()))
            })?;
        received.sort_unstable_by_key(|(_, delivery)| delivery.delivery_tag);
        for (handle, delivery) in received {
            self.forward(&handle, *delivery, sink);
        }
        self.has_unfinished_replacement = false;
        Ok(())
    }

    /// All deliveries that arrive before these cancelled consumers have ended: all later ones have
    /// higher tags.
    async fn until_ended(
        &mut self,
        mut ending: Vec<Arc<ConsumerHandle>>,
    ) -> Result<Received, Failure> {
        let mut received = Received::new();
        while !ending.is_empty() {
            let Some((handle, arrival)) = self.consumers.arrivals.next().await else { break };
            ending.retain(|one| !(matches!(arrival, Arrival::End) && Arc::ptr_eq(one, &handle)));
            self.collect(&mut received, handle, arrival)?;
        }
        // What arrived from the other consumers before the last end.
        for (handle, arrival) in drain_ready(&mut self.consumers.arrivals) {
            self.collect(&mut received, handle, arrival)?;
        }
        Ok(received)
    }

    fn collect(
        &mut self,
        received: &mut Received,
        handle: Arc<ConsumerHandle>,
        arrival: Arrival,
    ) -> Result<(), Failure> {
        match arrival {
            Arrival::Delivery(delivery) => received.push((handle, delivery)),
            Arrival::Fault(fault) => return Err(fault.into()),
            Arrival::End => self.ended(&handle)?,
        }
        Ok(())
    }

    /// Forwards a delivery.
    fn forward(
        &mut self,
        handle: &ConsumerHandle,
        delivery: lapin::message::Delivery,
        sink: Option<&DeliverySink>,
    ) {
        self.record(handle, &delivery);
        let delivery = self.maker.make(&handle.queue, delivery);
        if let Some(sink) = sink {
            sink.send(delivery);
        }
    }

    /// Counts a delivery as unsettled.
    fn record(&mut self, handle: &ConsumerHandle, delivery: &lapin::message::Delivery) {
        if let Some(id) = handle.id {
            self.prefetch.arrived(delivery.delivery_tag, id, delivery.data.len());
        }
    }

    /// A consumer has ended: a failure unless it was cancelled by this session.
    fn ended(&mut self, handle: &ConsumerHandle) -> Result<(), Failure> {
        if self.consumers.remove_ended(handle) { Err(cancelled(&handle.queue)) } else { Ok(()) }
    }

    /// The time since it was attached.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Forwards deliveries and writes settlements until the session is lost or consumers are to be
    /// replaced. May be dropped and called again at any point.
    pub(crate) async fn serve(
        &mut self,
        sink: Option<&DeliverySink>,
        demand: &Demand,
    ) -> SessionEvent {
        match self.serve_until_lost(sink, demand).await {
            Ok(event) => event,
            Err(failure) => SessionEvent::Lost(failure.to_string()),
        }
    }

    async fn serve_until_lost(
        &mut self,
        sink: Option<&DeliverySink>,
        demand: &Demand,
    ) -> Result<SessionEvent, Failure> {
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One timer for all purposes, reset only after it has fired: to reset a timer may wake the
        // thread that drives timers.
        let mut tick = pin!(sleep(TICK));
        let mut is_armed = true;
        // Deliveries accumulate while this is set.
        let mut is_accumulating = false;
        // The number of deliveries that arrived together the last time.
        let mut arrived = 0;
        loop {
            if !is_armed && (is_accumulating || !self.settlements.is_empty()) {
                tick.as_mut().reset(Instant::now() + TICK);
                is_armed = true;
            }
            // In this order: the end of the session makes the rest pointless, and settlements make room
            // for deliveries.
            tokio::select! {
                biased;
                event = self.events.next() => {
                    if let LinkEvent::Lost(fault) = event {
                        return Err(fault.into());
                    }
                }
                () = self.settlements.waiting() => {
                    self.quarantine.settle()?;
                    self.settle(false)?;
                }
                () = demand.all_begun() => {
                    is_accumulating &= self.is_flow(arrived);
                    let force = !is_accumulating && !self.delays_settlements();
                    self.settle(force)?;
                }
                () = tick.as_mut(), if is_armed => {
                    (is_armed, is_accumulating) = (false, false);
                    self.tick()?;
                }
                delivery = self.quarantine.next(), if sink.is_some() => {
                    let delivery = delivery?;
                    if let Some(sink) = sink {
                        sink.send(delivery);
                    }
                }
                Some(first) = self.consumers.arrivals.next(),
                    if sink.is_some() && !is_accumulating =>
                {
                    arrived = self.forward_all(first, sink)?;
                    is_accumulating = true;
                }
                _ = check.tick() => {
                    if !self.link.is_up() || !self.channel.status().connected() {
                        return Err(Failure::transient("the connection or its channel is closed"));
                    }
                }
            }
            if sink.is_some() && self.prefetch_has_changed(demand) {
                return Ok(SessionEvent::ReplaceConsumers);
            }
        }
    }

    /// Whether consumers are to be replaced by ones with another prefetch.
    fn prefetch_has_changed(&mut self, demand: &Demand) -> bool {
        if self.prefetch.is_paced() {
            let is_idle = demand.is_idle() && self.settlements.is_empty();
            let in_order = demand.waiting_in_order();
            self.prefetch.measure(Instant::now().into_std(), is_idle, in_order);
            demand.watch(self.prefetch.is_exhausted());
        }
        let has_changed = self.prefetch.update();
        if !self.prefetch.awaits_growth() {
            self.delayable_ticks = MAX_DELAYED_TICKS;
        }
        has_changed
    }

    /// Whether settlements wait until a consumer holds its whole prefetch, and can be replaced.
    fn delays_settlements(&self) -> bool {
        self.delayable_ticks > 0 && self.prefetch.awaits_growth() && self.prefetch.has_room()
    }

    /// Whether it pays to accumulate more deliveries although all are being handled, because each burst
    /// wakes threads. Not if the broker would wait for acknowledgements meanwhile.
    fn is_flow(&self, arrived: usize) -> bool {
        (MIN_FLOW..=usize::from(self.prefetch.largest() / BATCHES_PER_PREFETCH)).contains(&arrived)
    }

    /// Forwards a delivery, and those that are ready with it. Returns their number.
    fn forward_all(
        &mut self,
        first: (Arc<ConsumerHandle>, Arrival),
        sink: Option<&DeliverySink>,
    ) -> Result<usize, Failure> {
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some((handle, arrival)) = next.take() {
            match arrival {
                Arrival::Delivery(delivery) => self.forward(&handle, *delivery, sink),
                Arrival::Fault(fault) => return Err(fault.into()),
                Arrival::End => self.ended(&handle)?,
            }
            left -= 1;
            if left > 0 {
                next = self.consumers.arrivals.next().now_or_never().flatten();
            }
        }
        Ok(BATCH - left)
    }

    /// Writes the waiting settlements, if they are a full batch or `force` is set.
    fn settle(&mut self, force: bool) -> Result<(), Fault> {
        let flushes = self.settlements.flushes();
        let is_due = || !self.delays_settlements() && self.settlements.has_full_batch();
        if !force && flushes.is_empty() && !is_due() {
            return Ok(());
        }
        self.waited_since_tick = false;
        self.settlements.take(&mut self.batch);
        if !self.batch.is_empty() {
            let plan = self.merger.plan(&self.batch);
            self.batch.iter().for_each(|(tag, _)| self.prefetch.settled(*tag));
            write(&self.channel, &plan)?;
        }
        if !flushes.is_empty() {
            tokio::spawn(flush(self.channel.clone(), flushes));
        }
        Ok(())
    }

    /// Writes settlements that have waited since the last tick.
    fn tick(&mut self) -> Result<(), Fault> {
        if self.delays_settlements() {
            self.delayable_ticks -= 1;
        } else if self.waited_since_tick {
            return self.settle(true);
        }
        self.waited_since_tick = !self.settlements.is_empty();
        Ok(())
    }

    /// Cancels the consumers. Deliveries that arrive before the broker has confirmed it are forwarded.
    pub(crate) async fn cancel(&mut self, sink: &DeliverySink) {
        let quarantined = timeout(CALL_TIMEOUT, self.quarantine.cancel()).await;
        quarantined.unwrap_or_default().into_iter().for_each(|delivery| sink.send(delivery));
        if let Err(fault) = self.consumers.cancel_all(&self.channel).await {
            tracing::warn!(%fault, "a consumer could not be cancelled");
            return;
        }
        let forward = async {
            while let Some((handle, arrival)) = self.consumers.arrivals.next().await {
                if let Arrival::Delivery(delivery) = arrival {
                    self.forward(&handle, *delivery, Some(sink));
                }
            }
        };
        if timeout(CALL_TIMEOUT, forward).await.is_err() {
            tracing::warn!("a consumer did not end after it was cancelled");
        }
    }

    /// Writes the waiting settlements and closes, by `until`; later settlements fail. Returns whether
    /// the broker answered.
    pub(crate) async fn close(mut self, until: Instant) -> bool {
        self.settlements.close();
        let late = || Err(Fault::Other("no answer in time".to_owned()));
        let left = timeout_at(until, self.leave(until)).await;
        let is_answered = matches!(left, Ok(Ok(())));
        if let Err(fault) = left.unwrap_or_else(|_| late()) {
            tracing::warn!(
                %fault,
                "the last settlements may not have arrived; the broker will redeliver what was not settled"
            );
        }
        is_answered && timeout_at(until, self.link.close()).await.is_ok()
    }

    /// Writes the last settlements, and closes the channel. Unsettled deliveries are requeued as not
    /// attempted where the broker distinguishes that, unless the close of the channel has to requeue them
    /// all together:
    /// - while a consumer is attached, also one that the session does not know: it would receive them
    ///   again immediately, and the close would count these deliveries and put them behind others;
    /// - with a single active consumer: the next consumer would receive later messages before them;
    /// - while more deliveries are expected.
    async fn leave(&mut self, until: Instant) -> Result<(), Fault> {
        self.settle(true)?;
        let broker = &self.core.broker;
        let may_be_quorum = self.consumers.queues().any(|queue| broker.may_be_quorum(queue));
        let all_arrived = !may_be_quorum || self.until_all_arrived(until - NO_MORE_AFTER).await;
        let nacks = all_arrived
            && !self.has_unfinished_replacement
            && counts_closed_channels(&self.link)
            && !self.prefetch.may_have_single_active_consumer();
        let work = async {
            if nacks {
                self.consumers.cancel_all(&self.channel).await?;
                nack_all(&self.channel)?;
            }
            close_channel(&self.channel).await
        };
        // A quarantine queue that does not answer must not put the settlements of this channel in doubt.
        let limit = (until - NO_MORE_AFTER).max(Instant::now() + NO_MORE_AFTER / 2);
        let ((), left) = tokio::join!(self.quarantine.leave(limit), work);
        left
    }

    /// Waits until all deliveries have arrived for which settlements have made room, or until none
    /// arrives for a moment; not for long, because messages may be published all the time. Returns
    /// whether this was achieved. A channel forwards settlements to a quorum queue at the pace of the
    /// queue, and drops the rest when it is closed; and what a quorum queue delivers to a consumer that
    /// is being cancelled is requeued before all unsettled deliveries, out of order.
    async fn until_all_arrived(&mut self, until: Instant) -> bool {
        let queues: Vec<String> = self.consumers.queues().map(str::to_owned).collect();
        let (link, core) = (Arc::clone(&self.link), Arc::clone(&self.core));
        let all = async {
            while !self.prefetch.is_full() {
                match timeout(NO_MORE_AFTER, self.consumers.arrivals.next()).await {
                    Ok(Some((handle, Arrival::Delivery(delivery)))) => {
                        self.record(&handle, &delivery);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    // A busy broker may be silent as well.
                    Err(_) => {
                        let asked = has_more(Arc::clone(&link), Arc::clone(&core), queues.clone());
                        if !asked.await {
                            return;
                        }
                    }
                }
            }
        };
        timeout_at(until.min(Instant::now() + 4 * NO_MORE_AFTER), all).await.is_ok()
    }
}

/// Whether a quorum queue has messages to deliver, or is too busy to answer. If the request fails, the
/// answer is yes where an early requeue would change the order of the queue.
async fn has_more(link: Arc<Link>, core: Arc<Core>, queues: Vec<String>) -> bool {
    let mut topology = TopologyChannel::new(&link, &core);
    for queue in queues {
        if !core.broker.may_be_quorum(&queue) {
            continue;
        }
        match topology.ready_messages(&queue).await {
            Ok(Some(0)) => {}
            Err(_) if !counts_closed_channels(&link) => {}
            Ok(_) | Err(_) => return true,
        }
    }
    false
}

fn counts_closed_channels(link: &Link) -> bool {
    link.version.is_some_and(Version::counts_closed_channels)
}

/// The prefetch of a queue if neither bytes nor pace matter.
fn max_prefetch(core: &Core, subscription: &Subscription) -> u16 {
    core.options.rabbit_qos_prefetch_count.unwrap_or(subscription.prefetch).max(1)
}

/// The role of the connection of a session for this subscription.
pub(crate) fn role(core: &Core, subscription: &Subscription) -> Role {
    Role::Consume { prefetch: max_prefetch(core, subscription) }
}

/// The queues of a subscription, each once, in order.
pub(crate) fn queues(subscription: &Subscription) -> Vec<Arc<str>> {
    let mut seen = HashSet::new();
    subscription
        .bindings
        .iter()
        .filter(|binding| seen.insert(&binding.queue))
        .map(|binding| binding.queue.as_str().into())
        .collect()
}
