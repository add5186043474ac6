//! A bus: exchanges, queues, consumers and delayed messages. It decides which consumer receives which
//! message and when; `queue.rs` has the order within a queue. One lock protects the state, and is never
//! held across an await. No hash order is used, so that equal inputs always give equal results.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::drivers::memory::exchange::Exchange;
use crate::drivers::memory::queue::{ConsumerId, DeliveryLimit, Message, Queue, QueueConsumer};
use crate::drivers::memory::session::{Attached, Session};
use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::delivery::{Delivery, Settle, Settlement, Settler, near_limit_from};
use crate::transport::driver::{
    ConnectionState, JournalAppend, JournalRead, MAX_TIMEOUT, Outgoing, Route, Subscription,
};
use crate::transport::error::SettleError;

/// A bus of this process.
#[derive(Debug, Default)]
pub(super) struct Bus {
    state: Mutex<State>,
    /// Notified when a message is delayed.
    delayed: Notify,
}

#[derive(Debug, Default)]
struct State {
    exchanges: BTreeMap<String, Exchange>,
    queues: BTreeMap<String, Queue>,
    consumers: BTreeMap<ConsumerId, Attached>,
    /// The delayed messages, by due time and number; each message knows its queue.
    delayed: BTreeMap<(Instant, u64), Message>,
    limits: BTreeMap<String, DeliveryLimit>,
    journals: BTreeMap<String, Vec<Bytes>>,
    last: u64,
}

impl Bus {
    /// Declares the queues, binds them, and attaches one consumer to all of them.
    pub(super) fn attach(
        self: &Arc<Self>,
        subscription: Subscription,
        sender: mpsc::UnboundedSender<Delivery>,
        attached: watch::Sender<ConnectionState>,
    ) -> ConsumerId {
        let mut state = self.lock();
        state.declare(&subscription);
        let id = ConsumerId(state.next());
        let attached = Attached {
            subscription,
            sender: Some(sender),
            state: attached,
            session: self.session(id),
            unsettled: BTreeMap::new(),
            bytes: 0,
            queues: VecDeque::new(),
        };
        state.consumers.insert(id, attached);
        state.attach_to_queues(id);
        id
    }

    /// Attaches a consumer to those of its queues that were missing and now exist.
    pub(super) fn recheck_quarantine_queues(&self, consumer: ConsumerId) {
        self.lock().attach_to_queues(consumer);
    }

    pub(super) fn send(&self, outgoing: Outgoing) {
        let mut state = self.lock();
        let (exchange, routing_key, queues, delay) = match outgoing.route {
            Route::Topic { exchange, routing_key } => {
                let queues = state.bind(&exchange, &routing_key, &routing_key).route(&routing_key);
                (exchange, routing_key, queues, None)
            }
            Route::Queue(queue) | Route::Quarantine(queue) => {
                (String::new(), queue.clone(), vec![queue], None)
            }
            Route::Delayed { queue, delay } => {
                (String::new(), queue.clone(), vec![queue], Some(delay.min(MAX_TIMEOUT)))
            }
        };
        let (exchange, routing_key): (Arc<str>, Arc<str>) = (exchange.into(), routing_key.into());
        for queue in queues {
            let info =
                DeliveryInfo::new(queue.as_str(), Arc::clone(&exchange), Arc::clone(&routing_key));
            let number = state.next();
            let (body, properties) = (outgoing.body.clone(), outgoing.properties.clone());
            let message = Message { number, body, properties, info };
            state.queues.entry(queue).or_default();
            match delay {
                None => state.enter(message),
                Some(delay) => {
                    state.delayed.insert((Instant::now() + delay, number), message);
                    self.delayed.notify_waiters();
                }
            }
        }
    }

    /// Delivers each delayed message when it is due, while this is polled.
    pub(super) async fn deliver_delayed(self: Arc<Self>) {
        loop {
            let delayed = self.delayed.notified();
            match self.enter_due(Instant::now()) {
                // Whether notified or timed out, look again.
                Some(due) => drop(tokio::time::timeout_at(due, delayed).await),
                None => delayed.await,
            }
        }
    }

    /// Puts the due messages into their queues. Returns when the next one is due.
    fn enter_due(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        while let Some(first) = state.delayed.first_entry() {
            let (due, _) = *first.key();
            if due > now {
                return Some(due);
            }
            let message = first.remove();
            // It enters after the messages that arrived during its delay.
            let number = state.next();
            state.enter(Message { number, ..message });
        }
        None
    }

    pub(super) fn settle(
        &self,
        consumer: ConsumerId,
        tag: u64,
        settle: Settle,
    ) -> Result<(), SettleError> {
        let mut state = self.lock();
        let attached = state.consumers.get_mut(&consumer).ok_or(SettleError)?;
        let message = attached.unsettled.remove(&tag).ok_or(SettleError)?;
        attached.bytes -= message.body.len();
        // Another queue may wait for these bytes: each queue is the first in turn.
        attached.queues.rotate_left(usize::from(!attached.queues.is_empty()));
        let queues = attached.queues.clone();
        let name = Arc::clone(&message.info.queue);
        if let Some(queue) = state.queues.get_mut(&*name) {
            queue.add_credit(consumer);
        }
        match settle {
            Settle::Ack => {}
            Settle::Requeue => state.redeliver(message),
        }
        for queue in queues {
            state.deliver(&queue);
        }
        state.deliver(&name);
        Ok(())
    }

    fn session(self: &Arc<Self>, consumer: ConsumerId) -> Arc<Session> {
        let bus = Arc::clone(self);
        Session::new(consumer, move |tag, settle| bus.settle(consumer, tag, settle))
    }

    /// Delivers no more to a consumer. Its deliveries can still be settled.
    pub(super) fn cancel(&self, consumer: ConsumerId) {
        let mut state = self.lock();
        state.detach_from_queues(consumer);
        if let Some(attached) = state.consumers.get_mut(&consumer) {
            attached.sender = None;
            attached.state.send_replace(ConnectionState::Closed);
        }
    }

    /// Removes a consumer, and releases its unsettled deliveries. Returns their bodies.
    pub(super) fn detach(&self, consumer: ConsumerId) -> Vec<Bytes> {
        let mut state = self.lock();
        let released = state.end_session(consumer);
        if let Some(attached) = state.consumers.remove(&consumer) {
            attached.state.send_replace(ConnectionState::Closed);
        }
        state.drop_unused();
        released
    }

    /// Appends to a journal and reads it.
    pub(super) fn journal(&self, append: JournalAppend) -> JournalRead {
        let mut state = self.lock();
        let entries = state.journals.entry(append.journal).or_default();
        entries.push(append.entry);
        let next = entries.len();
        let from = append.read_from.map_or(next, |from| usize::try_from(from).unwrap_or(next));
        let entries = entries.get(from..).unwrap_or_default().to_vec();
        JournalRead { entries, next: u64::try_from(next).unwrap_or(u64::MAX) }
    }

    #[cfg(test)]
    pub(super) fn has_queue(&self, name: &str) -> bool {
        self.lock().queues.contains_key(name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only the model broker does.
#[cfg(feature = "testing")]
impl Bus {
    /// Ends the session of a consumer, and releases its unsettled deliveries. Returns their bodies.
    pub(super) fn lose(&self, consumer: ConsumerId, reason: &str) -> Vec<Bytes> {
        let mut state = self.lock();
        if let Some(attached) = state.consumers.get(&consumer)
            && attached.sender.is_some()
        {
            attached.state.send_replace(ConnectionState::Lost { reason: reason.into() });
        }
        state.end_session(consumer)
    }

    /// Starts a new session for a consumer that lost its session.
    pub(super) fn reattach(self: &Arc<Self>, consumer: ConsumerId) {
        let mut state = self.lock();
        let Some(attached) = state.consumers.get_mut(&consumer) else {
            return;
        };
        if attached.sender.is_none() || !attached.session.is_over() {
            return;
        }
        attached.session = self.session(consumer);
        attached.state.send_replace(ConnectionState::Attached);
        let subscription = attached.subscription.clone();
        state.declare(&subscription);
        state.attach_to_queues(consumer);
    }

    /// Limits how often a queue delivers a message.
    pub(super) fn limit(&self, queue: &str, limit: DeliveryLimit) {
        self.lock().limits.insert(queue.to_owned(), limit);
    }

    pub(super) fn consumers(&self) -> Vec<ConsumerId> {
        self.lock().consumers.keys().copied().collect()
    }

    /// How many messages of each queue are ready, delayed or unsettled.
    pub(super) fn depths(&self) -> BTreeMap<String, usize> {
        let state = self.lock();
        let mut depths: BTreeMap<String, usize> =
            state.queues.iter().map(|(name, queue)| (name.clone(), queue.ready.len())).collect();
        let unsettled = state.consumers.values().flat_map(|attached| attached.unsettled.values());
        for message in unsettled.chain(state.delayed.values()) {
            *depths.entry(message.info.queue.to_string()).or_default() += 1;
        }
        depths
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Declares the queues of a subscription, except its quarantine queues.
    fn declare(&mut self, subscription: &Subscription) {
        for binding in &subscription.bindings {
            let temporary = subscription.expires.is_some();
            let queue = || Queue { temporary, ..Queue::default() };
            self.queues.entry(binding.queue.clone()).or_insert_with(queue);
            if !binding.exchange.is_empty() {
                self.bind(&binding.exchange, &binding.routing_key, &binding.queue);
            }
        }
    }

    /// Attaches a consumer to those of its queues that exist and that it does not consume yet.
    fn attach_to_queues(&mut self, consumer: ConsumerId) {
        let Some(attached) = self.consumers.get_mut(&consumer) else {
            return;
        };
        if attached.sender.is_none() || attached.session.is_over() {
            return;
        }
        let Subscription { bindings, quarantine, prefetch, .. } = &attached.subscription;
        let shared = bindings.iter().map(|binding| (&binding.queue, *prefetch));
        let mut consumed: Vec<Arc<str>> = Vec::new();
        for (name, credit) in shared.chain(quarantine.iter().map(|queue| (queue, 1))) {
            let missing = self.queues.get_mut(name).filter(|queue| !queue.is_consumed_by(consumer));
            if let Some(queue) = missing {
                queue.consumers.push_back(QueueConsumer { id: consumer, credit });
                consumed.push(Arc::from(name.as_str()));
            }
        }
        attached.queues.extend(consumed.iter().cloned());
        for name in consumed {
            self.deliver(&name);
        }
    }

    fn bind(&mut self, exchange: &str, pattern: &str, queue: &str) -> &Exchange {
        self.queues.entry(queue.to_owned()).or_default();
        let exchange = self.exchanges.entry(exchange.to_owned()).or_default();
        exchange.bind(pattern, queue);
        exchange
    }

    fn detach_from_queues(&mut self, consumer: ConsumerId) {
        for queue in self.queues.values_mut() {
            queue.consumers.retain(|attached| attached.id != consumer);
        }
    }

    fn end_session(&mut self, consumer: ConsumerId) -> Vec<Bytes> {
        self.detach_from_queues(consumer);
        let Some(attached) = self.consumers.get_mut(&consumer) else {
            return Vec::new();
        };
        attached.session.end();
        attached.queues.clear();
        attached.bytes = 0;
        let unsettled = std::mem::take(&mut attached.unsettled);
        // All return to their positions before the first is delivered: a requeued message has the highest
        // tag here, and may be the first of its queue.
        let mut names = BTreeSet::new();
        let mut bodies = Vec::new();
        for message in unsettled.into_values() {
            names.insert(Arc::clone(&message.info.queue));
            bodies.push(message.body.clone());
            self.redeliver(message);
        }
        for name in names {
            self.deliver(&name);
        }
        bodies
    }

    /// Returns a message to its queue, unless it reached the delivery limit.
    fn redeliver(&mut self, message: Message) {
        let message = message.redelivered();
        let queue = &*message.info.queue;
        match self.limits.get(queue).filter(|limit| message.count() > limit.deliveries) {
            None => self.queues.entry(queue.to_owned()).or_default().put_back(message),
            Some(DeliveryLimit { dead_letters: None, .. }) => {}
            Some(DeliveryLimit { dead_letters: Some(to), .. }) => {
                let info = DeliveryInfo::new(to.as_str(), "", to.as_str());
                let number = self.next();
                self.enter(Message { number, info, ..message });
            }
        }
    }

    /// Puts a message at the end of its queue.
    fn enter(&mut self, message: Message) {
        let name = Arc::clone(&message.info.queue);
        self.queues.entry(name.to_string()).or_default().ready.push_back(message);
        self.deliver(&name);
    }

    /// Deletes the temporary queues without consumers, and their bindings.
    fn drop_unused(&mut self) {
        self.queues.retain(|name, queue| {
            let used = !queue.temporary || !queue.consumers.is_empty();
            if !used {
                self.exchanges.values_mut().for_each(|exchange| exchange.unbind(name));
            }
            used
        });
    }

    /// Delivers the messages of a queue in order, to its consumers in turn.
    fn deliver(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        while let Some(message) = queue.ready.front() {
            let can_receive = |consumer: &QueueConsumer| {
                let attached = self.consumers.get(&consumer.id);
                consumer.credit > 0
                    && attached.is_some_and(|attached| attached.has_room_for(message))
            };
            let Some(at) = queue.consumers.iter().position(can_receive) else {
                return;
            };
            let (Some(mut consumer), Some(message)) =
                (queue.consumers.remove(at), queue.ready.pop_front())
            else {
                return;
            };
            let Some(attached) = self.consumers.get_mut(&consumer.id) else {
                return;
            };
            self.last += 1;
            let settlement = Settlement::new(attached.session.clone(), self.last);
            let (body, properties) = (message.body.clone(), message.properties.clone());
            let near = self.limits.get(name).map(|limit| near_limit_from(limit.deliveries));
            let is_near = near.is_some_and(|near| message.count() >= near);
            let delivery = Delivery::new(body, properties, message.info.clone(), settlement)
                .near_limit(is_near);
            if let Some(sender) = &attached.sender {
                // If the receiver is dropped, its consumer is detached and this message is released.
                let _ = sender.send(delivery);
            }
            attached.bytes += message.body.len();
            attached.unsettled.insert(self.last, message);
            consumer.credit -= 1;
            queue.consumers.push_back(consumer);
        }
    }
}
