//! One session of a consumer: a connection, a channel, a consumer on each queue, and a
//! generation number. It is attached, served until it ends, and never repaired: the next one is
//! made by `supervisor.rs`.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout, timeout_at};

use super::consumers::{Arrival, Consumers, Maker, On, Origin};
use super::ledger::{Ledger, PART, SessionSettler, Settlements, processed, release_all, write};
use super::prefetch::Window;
use super::quarantine::{Quarantined, cancelled};
use crate::drivers::rabbit::Core;
use crate::drivers::rabbit::connection::hosts::Address;
use crate::drivers::rabbit::connection::link::{Link, LinkEvent, LinkEvents, Role, close_channel};
use crate::drivers::rabbit::connection::refusal::{Failure, Fault};
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::options::{CALL_TIMEOUT, CHECK_EVERY};
use crate::drivers::rabbit::topology::Topology;
use crate::drivers::rabbit::topology::rights;
use crate::drivers::rabbit::workarounds::ready::ready;
use crate::transport::delivery::{Delivery, Settle};
use crate::transport::demand::Demand;
use crate::transport::driver::Subscription;

/// So many deliveries are forwarded before settlements are looked at.
const BATCH: usize = 256;

/// So many deliveries at once are a flow.
const FLOW: usize = 8;

/// So long deliveries gather at most while others wait to be begun, or while they flow; so long
/// may an `error` be kept from passing what waits; and a settlement waits for others for twice
/// that at most. tokio's clock may add a millisecond to each.
const TICK: Duration = Duration::from_millis(1);

/// For so many ticks settlements are held back while a quorum queue is to have more and its consumer
/// does not have all that it may have: a broker that has more sends that meanwhile.
const PATIENCE: u32 = 100;

/// Nothing is on its way any more when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(500);

/// Deliveries that were not handed on yet, each with the consumer it came over.
type Came = Vec<(Arc<Origin>, Box<lapin::message::Delivery>)>;

/// Where deliveries go.
pub(crate) struct Given {
    pub(crate) deliveries: mpsc::UnboundedSender<Delivery>,
    pub(crate) demand: Arc<Demand>,
}

impl Given {
    /// It fails when the program has let go of its end: it closes soon.
    fn give(&self, delivery: Delivery) {
        self.demand.gave();
        let _ = self.deliveries.send(delivery);
    }
}

/// What is to be done with a session.
pub(crate) enum Next {
    /// It is lost; why.
    Lost(String),
    /// Its consumers are to be put on another prefetch.
    Refit,
}

pub(crate) struct Session {
    pub(crate) address: Address,
    pub(crate) generation: u64,
    since: Instant,
    events: LinkEvents,
    channel: Channel,
    consumers: Consumers,
    window: Window,
    quarantined: Quarantined,
    maker: Maker,
    /// A refit has begun and not finished: the broker may know consumers that the session does not.
    has_unfinished_refit: bool,
    settlements: Settlements,
    /// Whether some settlements have waited since the last tick.
    have_waited: bool,
    /// For how many ticks they may still be held back.
    patience: u32,
    batch: Vec<(u64, Settle)>,
    ledger: Ledger,
    // After what runs over it.
    link: Arc<Link>,
}

impl Session {
    /// Declares what is missing on a host, and consumes each queue.
    pub(crate) async fn attach(
        core: &Arc<Core>,
        address: &Address,
        (link, events): (Link, LinkEvents),
        subscription: &Subscription,
        generation: u64,
        stale: &Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let options = &core.options;
        let prefetch = prefetch(core, subscription);
        let link = Arc::new(link);
        let mut topology = Topology::new(&link, core).expiring(subscription.expires);
        topology.subscription(&subscription.bindings).await?;
        let queues = queues(subscription);
        let slots = subscription.slots.unwrap_or(usize::MAX);
        let mut window = Window::new(subscription.bytes, prefetch, slots, queues.len());
        // Everything that may fail is asked before the first consumer is attached. What a consumer
        // got that is given up counts as delivered, though nobody has seen it, and a quorum queue
        // drops it at its delivery limit.
        for (place, queue) in queues.iter().enumerate() {
            topology.check_readable(queue).await?;
            if window.is_fitted() || counts_closed_channels(&link) {
                let single = topology.single(queue).await?;
                window.fit(place, single, core.known.may_be_quorum(queue));
            }
        }
        let is_first = |queue| core.known.is_first_look_at_rights(queue);
        if generation == 1 && queues.first().is_some_and(|queue| is_first(queue)) {
            rights::tell(&link, core, address, subscription).await;
        }
        let channel = link.channel().await?;
        let mut consumers = Consumers::none();
        // What cannot be foreseen, such as a queue that another consumer has exclusively, fails
        // before anything is delivered from the second attempt on.
        for place in core.known.failed_first(&queues) {
            let on = On { channel: &channel, options, user: &link.user };
            let (seat, prefetch) = window.seat(place);
            let added = consumers.add(on, Arc::clone(&queues[place]), Some(seat), prefetch).await;
            if let Err(failure) = added {
                core.known.failed_to_consume(&queues[place]);
                return Err(failure);
            }
        }
        let came = Arc::new(Notify::new());
        let (settler, settlements) = SessionSettler::new(Arc::clone(stale), Arc::clone(&came));
        Ok(Self {
            address: address.clone(),
            generation,
            since: Instant::now(),
            events,
            channel,
            consumers,
            window,
            quarantined: Quarantined::new(
                (Arc::clone(&link), address.clone()),
                Arc::clone(core),
                Arc::clone(stale),
                came,
                &subscription.quarantine,
            ),
            maker: Maker::new(Arc::clone(core), link.version, settler),
            has_unfinished_refit: false,
            settlements,
            have_waited: false,
            patience: PATIENCE,
            batch: Vec::new(),
            ledger: Ledger::default(),
            link,
        })
    }

    /// Consumes those quarantine queues that were missing, and exist by now.
    pub(crate) fn look_again(&mut self) {
        self.quarantined.look();
    }

    /// Puts consumers with the prefetch that the window says now in the place of those that it
    /// says it of: a consumer's own cannot be changed. The new ones come first, for a queue may go
    /// with its last consumer, and take along what waits in it. What both bring meanwhile is
    /// forwarded by its tags, so the order of a queue is kept. Nothing is settled meanwhile: a quorum
    /// queue must have nothing to give to those that go.
    pub(crate) async fn refit(
        &mut self,
        core: &Core,
        deliveries: Option<&Given>,
    ) -> Result<(), Failure> {
        self.has_unfinished_refit = true;
        let old = self.consumers.due(&self.window);
        for (seat, queue) in old.iter().filter_map(|origin| Some((origin.seat?, &origin.queue))) {
            let (channel, user) = (&self.channel, self.link.user.as_str());
            let on = On { channel, options: &core.options, user };
            let (seat, prefetch) = self.window.seat(seat.place());
            self.consumers.add(on, Arc::clone(queue), Some(seat), prefetch).await?;
        }
        self.consumers.cancel_those(&self.channel, &old).await?;
        let mut came = timeout(CALL_TIMEOUT, self.until_ended(old)).await.unwrap_or_else(|_| {
            Err(Failure::transient("a consumer did not end after it was cancelled".to_owned()))
        })?;
        came.sort_unstable_by_key(|(_, delivery)| delivery.delivery_tag);
        for (origin, delivery) in came {
            self.forward(&origin, *delivery, deliveries);
        }
        self.has_unfinished_refit = false;
        Ok(())
    }

    /// All that came until these consumers, which are cancelled, have ended: nothing that comes
    /// later has a tag below.
    async fn until_ended(&mut self, mut ending: Vec<Arc<Origin>>) -> Result<Came, Failure> {
        let mut came = Came::new();
        while !ending.is_empty() {
            let Some((origin, arrival)) = self.consumers.arrivals.next().await else { break };
            ending.retain(|one| !(matches!(arrival, Arrival::End) && Arc::ptr_eq(one, &origin)));
            self.gather(&mut came, origin, arrival)?;
        }
        // What the others brought before the last end.
        for (origin, arrival) in ready(&mut self.consumers.arrivals) {
            self.gather(&mut came, origin, arrival)?;
        }
        Ok(came)
    }

    fn gather(
        &mut self,
        came: &mut Came,
        origin: Arc<Origin>,
        arrival: Arrival,
    ) -> Result<(), Failure> {
        match arrival {
            Arrival::Delivery(delivery) => came.push((origin, delivery)),
            Arrival::Fault(fault) => return Err(fault.into()),
            Arrival::End => self.ended(&origin)?,
        }
        Ok(())
    }

    /// Hands a delivery on.
    fn forward(
        &mut self,
        origin: &Origin,
        delivery: lapin::message::Delivery,
        deliveries: Option<&Given>,
    ) {
        self.came(origin, &delivery);
        let delivery = self.maker.delivery(&origin.queue, delivery);
        if let Some(deliveries) = deliveries {
            deliveries.give(delivery);
        }
    }

    /// Takes note of a delivery.
    fn came(&mut self, origin: &Origin, delivery: &lapin::message::Delivery) {
        if let Some(seat) = origin.seat {
            self.window.arrived(delivery.delivery_tag, seat, delivery.data.len());
        }
    }

    /// Nothing more comes from a consumer: nothing is to be done if we have cancelled it.
    fn ended(&mut self, origin: &Origin) -> Result<(), Failure> {
        if self.consumers.ended(origin) { Err(cancelled(&origin.queue)) } else { Ok(()) }
    }

    /// How long it has stood.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Forwards deliveries and carries out settlements until something else is to be done. May
    /// be dropped and called again at any point.
    pub(crate) async fn serve(&mut self, deliveries: Option<&Given>, demand: &Demand) -> Next {
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One timer for all, armed again only when it has gone off: to arm one may wake the thread
        // that looks after timers.
        let mut tick = pin!(sleep(TICK));
        let mut is_armed = true;
        // Deliveries gather for as long as this is set.
        let mut is_gathering = false;
        // How many came at once the last time.
        let mut came = 0;
        loop {
            if !is_armed && (is_gathering || !self.settlements.are_none()) {
                tick.as_mut().reset(Instant::now() + TICK);
                is_armed = true;
            }
            // In this order: what ends the session makes the rest pointless, and settlements
            // make room for deliveries.
            tokio::select! {
                biased;
                event = self.events.next() => {
                    if let LinkEvent::Lost(fault) = event {
                        return Next::Lost(fault.to_string());
                    }
                }
                () = self.settlements.came() => {
                    if let Err(failure) = self.quarantined.settle() {
                        return Next::Lost(failure.to_string());
                    }
                    if let Err(fault) = self.settle(false) {
                        return Next::Lost(fault.to_string());
                    }
                }
                () = demand.all_begun() => {
                    is_gathering &= self.is_in_flow(came);
                    let is_time = !is_gathering && !self.holds_back();
                    if let Err(fault) = self.settle(is_time) {
                        return Next::Lost(fault.to_string());
                    }
                }
                () = tick.as_mut(), if is_armed => {
                    (is_armed, is_gathering) = (false, false);
                    if let Err(fault) = self.tick() {
                        return Next::Lost(fault.to_string());
                    }
                }
                quarantined = self.quarantined.next(), if deliveries.is_some() => {
                    match (quarantined, deliveries) {
                        (Ok(delivery), Some(deliveries)) => deliveries.give(delivery),
                        (Ok(_), None) => {}
                        (Err(failure), _) => return Next::Lost(failure.to_string()),
                    }
                }
                Some(arrived) = self.consumers.arrivals.next(),
                    if deliveries.is_some() && !is_gathering =>
                {
                    match self.arrived(arrived, deliveries) {
                        Ok(count) => came = count,
                        Err(failure) => return Next::Lost(failure.to_string()),
                    }
                    is_gathering = true;
                }
                _ = check.tick() => {
                    if !self.link.is_up() || !self.channel.status().connected() {
                        let reason = "the connection or its channel is closed";
                        return Next::Lost(reason.to_owned());
                    }
                }
            }
            if deliveries.is_some() && self.is_off(demand) {
                return Next::Refit;
            }
        }
    }

    /// Whether consumers are to be put on another prefetch.
    fn is_off(&mut self, demand: &Demand) -> bool {
        if self.window.is_paced() {
            let is_idle = demand.is_idle() && self.settlements.are_none();
            let in_order = demand.waiting_in_order();
            self.window.look(Instant::now().into_std(), is_idle, in_order);
            demand.watch(self.window.is_exhausted());
        }
        let is_off = self.window.change();
        if !self.window.is_short() {
            self.patience = PATIENCE;
        }
        is_off
    }

    /// Whether settlements wait until a consumer has all that it may have, and can be replaced.
    fn holds_back(&self) -> bool {
        self.patience > 0 && self.window.is_short() && self.window.has_room()
    }

    /// Whether so many at once are worth waiting for more of them, though nothing is left to
    /// begin: each burst wakes threads. The broker is not to wait for acknowledgements meanwhile.
    fn is_in_flow(&self, came: usize) -> bool {
        (FLOW..=usize::from(self.window.widest() / PART)).contains(&came)
    }

    /// Forwards what came, and what is there with it. How many came.
    fn arrived(
        &mut self,
        first: (Arc<Origin>, Arrival),
        deliveries: Option<&Given>,
    ) -> Result<usize, Failure> {
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some((origin, arrival)) = next.take() {
            match arrival {
                Arrival::Delivery(delivery) => self.forward(&origin, *delivery, deliveries),
                Arrival::Fault(fault) => return Err(fault.into()),
                Arrival::End => self.ended(&origin)?,
            }
            left -= 1;
            if left > 0 {
                next = self.consumers.arrivals.next().now_or_never().flatten();
            }
        }
        Ok(BATCH - left)
    }

    /// Writes the settlements that wait, if they are enough or if it is time.
    fn settle(&mut self, is_time: bool) -> Result<(), Fault> {
        let flushes = self.settlements.flushes();
        let are_enough = || !self.holds_back() && self.settlements.are_enough(self.window.widest());
        if !is_time && flushes.is_empty() && !are_enough() {
            return Ok(());
        }
        self.have_waited = false;
        self.settlements.take(&mut self.batch);
        if !self.batch.is_empty() {
            let plan = self.ledger.plan(&self.batch);
            self.batch.iter().for_each(|(tag, _)| self.window.settled(*tag));
            write(&self.channel, &plan)?;
        }
        if !flushes.is_empty() {
            tokio::spawn(processed(self.channel.clone(), flushes));
        }
        Ok(())
    }

    /// Writes those settlements that have waited since the last time.
    fn tick(&mut self) -> Result<(), Fault> {
        if self.holds_back() {
            self.patience -= 1;
        } else if self.have_waited {
            return self.settle(true);
        }
        self.have_waited = !self.settlements.are_none();
        Ok(())
    }

    /// Stops the consumers; what the broker sent before it confirmed that is forwarded.
    pub(crate) async fn cancel(&mut self, deliveries: &Given) {
        let quarantined = timeout(CALL_TIMEOUT, self.quarantined.cancel()).await;
        quarantined.unwrap_or_default().into_iter().for_each(|delivery| deliveries.give(delivery));
        if let Err(fault) = self.consumers.cancel(&self.channel).await {
            tracing::warn!(%fault, "a consumer could not be cancelled");
            return;
        }
        let forward = async {
            while let Some((origin, arrival)) = self.consumers.arrivals.next().await {
                if let Arrival::Delivery(delivery) = arrival {
                    self.forward(&origin, *delivery, Some(deliveries));
                }
            }
        };
        if timeout(CALL_TIMEOUT, forward).await.is_err() {
            tracing::warn!("a consumer did not end after it was cancelled");
        }
    }

    /// Carries out the settlements that were asked for, and closes, until then. Those that come later
    /// fail. Whether the broker answered.
    pub(crate) async fn close(mut self, until: Instant) -> bool {
        self.settlements.close();
        let late = || Err(Fault::Other("no answer in time".to_owned()));
        let left = timeout_at(until, self.leave(until)).await;
        let is_answered = matches!(left, Ok(Ok(())));
        if let Err(fault) = left.unwrap_or_else(|_| late()) {
            tracing::warn!(
                %fault,
                "the last settlements may not have arrived; the broker will deliver again what it has not seen settled"
            );
        }
        is_answered && timeout_at(until, self.link.close()).await.is_ok()
    }

    /// What is unsettled goes back as not tried, where the broker tells that apart. A consumer that
    /// still takes deliveries would get some of it again at once, also one that the session does not know: the close of the channel would
    /// count those, and put them behind the others. Where a cancelled consumer hands its queue over
    /// to the next one, that would get what comes later before what goes back: the close of the
    /// channel returns all first. So it does also while more is on its way.
    async fn leave(&mut self, until: Instant) -> Result<(), Fault> {
        self.settle(true)?;
        let known = &self.maker.core().known;
        let may_be_quorum = self.consumers.queues().any(|queue| known.may_be_quorum(queue));
        let has_all = !may_be_quorum || self.until_all_came(until - QUIET).await;
        let is_released = has_all
            && !self.has_unfinished_refit
            && counts_closed_channels(&self.link)
            && !self.window.may_be_single();
        let work = async {
            if is_released {
                self.consumers.cancel(&self.channel).await?;
                release_all(&self.channel)?;
            }
            close_channel(&self.channel).await
        };
        // What is settled here is not in doubt because a quarantine queue does not answer.
        let quarantined = (until - QUIET).max(Instant::now() + QUIET / 2);
        let ((), left) = tokio::join!(self.quarantined.leave(quarantined), work);
        left
    }

    /// Waits until what settlements have made room for is here, or nothing comes for a moment; not for
    /// long, as somebody may publish all the time. Whether it was so. A channel hands the settlements
    /// of a quorum queue on as fast as that takes them, and forgets the rest when it is closed; and
    /// what is on its way to a consumer that is cancelled goes back before all that is unsettled, out
    /// of its order.
    async fn until_all_came(&mut self, until: Instant) -> bool {
        let queues: Vec<String> = self.consumers.queues().map(str::to_owned).collect();
        let (link, core) = (Arc::clone(&self.link), Arc::clone(self.maker.core()));
        let all = async {
            while !self.window.is_full() {
                match timeout(QUIET, self.consumers.arrivals.next()).await {
                    Ok(Some((origin, Arrival::Delivery(delivery)))) => {
                        self.came(&origin, &delivery);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    // A busy machine is silent, too.
                    Err(_) => {
                        let asked = has_more(Arc::clone(&link), Arc::clone(&core), queues.clone());
                        if !asked.await {
                            return;
                        }
                    }
                }
            }
        };
        timeout_at(until.min(Instant::now() + 4 * QUIET), all).await.is_ok()
    }
}

/// Whether a quorum queue has messages to deliver, or is too busy to say. If it cannot be asked, the
/// answer is yes where an early release would cost the order of the queue.
async fn has_more(link: Arc<Link>, core: Arc<Core>, queues: Vec<String>) -> bool {
    let mut topology = Topology::new(&link, &core);
    for queue in queues {
        if !core.known.may_be_quorum(&queue) {
            continue;
        }
        match topology.ready(&queue).await {
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

fn prefetch(core: &Core, subscription: &Subscription) -> u16 {
    core.options.rabbit_qos_prefetch_count.unwrap_or(subscription.prefetch).max(1)
}

/// What the connection of such a session is for.
pub(crate) fn role(core: &Core, subscription: &Subscription) -> Role {
    Role::Consume { prefetch: prefetch(core, subscription) }
}

/// Each queue once, in order.
pub(crate) fn queues(subscription: &Subscription) -> Vec<Arc<str>> {
    let mut seen = HashSet::new();
    subscription
        .bindings
        .iter()
        .filter(|binding| seen.insert(&binding.queue))
        .map(|binding| binding.queue.as_str().into())
        .collect()
}
