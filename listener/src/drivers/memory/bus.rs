//! A bus: queues with their messages, and the consumers that take from them. Order, credit
//! and redelivery are as RabbitMQ has them: a message that is given back takes its old place.
//! All under one lock that is never held across a wait.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::drivers::memory::exchange::Exchange;
use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::delivery::{Delivery, Properties, Settle, Settlement, Settler};
use crate::transport::driver::{Outgoing, Route, Subscription};
use crate::transport::error::SettleError;

/// Which consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConsumerId(u64);

/// A bus of this process.
#[derive(Debug, Default)]
pub(super) struct Bus(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    exchanges: HashMap<String, Exchange>,
    queues: HashMap<String, Queue>,
    consumers: HashMap<ConsumerId, Attached>,
    last: u64,
}

#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Message>,
    /// Whether it was declared to go away once nobody consumes. Here that is at once: a bus
    /// has no clock.
    temporary: bool,
    /// Who takes from it; the first with credit is next, and then goes to the back.
    taps: VecDeque<Tap>,
}

#[derive(Debug)]
struct Tap {
    consumer: ConsumerId,
    credit: u16,
}

#[derive(Clone, Debug)]
struct Message {
    /// Its place: the number that it got when it first entered the queue.
    place: u64,
    body: Bytes,
    properties: Properties,
    info: DeliveryInfo,
}

struct Attached {
    /// Gone once the consumer is cancelled.
    sender: Option<mpsc::UnboundedSender<Delivery>>,
    settler: Arc<dyn Settler>,
    unsettled: BTreeMap<u64, Message>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").field("unsettled", &self.unsettled.len()).finish_non_exhaustive()
    }
}

impl Bus {
    /// Declares the queues, binds them, and attaches one consumer to all of them.
    pub(super) fn attach<S: Settler + 'static>(
        &self,
        subscription: &Subscription,
        sender: mpsc::UnboundedSender<Delivery>,
        settler: impl FnOnce(ConsumerId) -> Arc<S>,
    ) -> ConsumerId {
        let mut state = self.lock();
        let id = ConsumerId(state.next());
        let attached =
            Attached { sender: Some(sender), settler: settler(id), unsettled: BTreeMap::new() };
        state.consumers.insert(id, attached);
        let mut queues = HashSet::new();
        for binding in &subscription.bindings {
            if subscription.expires.is_some() && !state.queues.contains_key(&binding.queue) {
                let queue = Queue { temporary: true, ..Queue::default() };
                state.queues.insert(binding.queue.clone(), queue);
            }
            if !binding.exchange.is_empty() {
                state.bind(&binding.exchange, &binding.routing_key, &binding.queue);
            }
            if queues.insert(&binding.queue) {
                let queue = state.queues.entry(binding.queue.clone()).or_default();
                queue.taps.push_back(Tap { consumer: id, credit: subscription.prefetch });
            }
        }
        for queue in queues {
            state.deliver(queue);
        }
        id
    }

    pub(super) fn send(&self, outgoing: Outgoing) {
        let mut state = self.lock();
        let (exchange, routing_key, queues) = match outgoing.route {
            Route::Topic { exchange, routing_key } => {
                let queues = state.bind(&exchange, &routing_key, &routing_key).route(&routing_key);
                (exchange, routing_key, queues)
            }
            Route::Queue(queue) | Route::Delayed { queue, .. } => {
                (String::new(), queue.clone(), vec![queue])
            }
        };
        let (exchange, routing_key): (Arc<str>, Arc<str>) = (exchange.into(), routing_key.into());
        for queue in queues {
            let info =
                DeliveryInfo::new(queue.as_str(), Arc::clone(&exchange), Arc::clone(&routing_key));
            let message = Message {
                place: state.next(),
                body: outgoing.body.clone(),
                properties: outgoing.properties.clone(),
                info,
            };
            state.queues.entry(queue.clone()).or_default().ready.push_back(message);
            state.deliver(&queue);
        }
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
        let name = Arc::clone(&message.info.queue);
        let queue = state.queues.entry(name.to_string()).or_default();
        if let Some(tap) = queue.taps.iter_mut().find(|tap| tap.consumer == consumer) {
            tap.credit = tap.credit.saturating_add(1);
        }
        match settle {
            Settle::Ack => {}
            Settle::Requeue | Settle::GiveBack => queue.give_back(message),
        }
        state.deliver(&name);
        Ok(())
    }

    pub(super) fn is_attached(&self, consumer: ConsumerId) -> bool {
        self.lock().consumers.contains_key(&consumer)
    }

    pub(super) fn cancel(&self, consumer: ConsumerId) {
        let mut state = self.lock();
        for queue in state.queues.values_mut() {
            queue.taps.retain(|tap| tap.consumer != consumer);
        }
        if let Some(attached) = state.consumers.get_mut(&consumer) {
            attached.sender = None;
        }
    }

    pub(super) fn detach(&self, consumer: ConsumerId) {
        self.cancel(consumer);
        let mut state = self.lock();
        let Some(attached) = state.consumers.remove(&consumer) else {
            return;
        };
        // All are back in their places before the first is handed out: one that had been
        // requeued is the last here, and may be the first of its queue.
        let mut names = HashSet::new();
        for message in attached.unsettled.into_values() {
            let name = Arc::clone(&message.info.queue);
            let queue = state.queues.entry(name.to_string()).or_default();
            queue.give_back(message);
            names.insert(name);
        }
        for name in names {
            state.deliver(&name);
        }
        state.drop_unused();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn bind(&mut self, exchange: &str, pattern: &str, queue: &str) -> &Exchange {
        self.queues.entry(queue.to_owned()).or_default();
        let exchange = self.exchanges.entry(exchange.to_owned()).or_default();
        exchange.bind(pattern, queue);
        exchange
    }

    /// Deletes the temporary queues that nobody consumes, and their bindings.
    fn drop_unused(&mut self) {
        self.queues.retain(|name, queue| {
            let used = !queue.temporary || !queue.taps.is_empty();
            if !used {
                self.exchanges.values_mut().for_each(|exchange| exchange.unbind(name));
            }
            used
        });
    }

    /// Hands out what the queue has to those who have credit, in turn.
    fn deliver(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        while !queue.ready.is_empty() {
            let Some(at) = queue.taps.iter().position(|tap| tap.credit > 0) else {
                return;
            };
            let Some(mut tap) = queue.taps.remove(at) else {
                return;
            };
            let Some(attached) = self.consumers.get_mut(&tap.consumer) else {
                continue;
            };
            let Some(sender) = &attached.sender else {
                continue;
            };
            let Some(message) = queue.ready.pop_front() else {
                return;
            };
            self.last += 1;
            let settlement = Settlement::new(Arc::clone(&attached.settler), self.last);
            let delivery = Delivery::new(
                message.body.clone(),
                message.properties.clone(),
                message.info.clone(),
                settlement,
            );
            // A receiver that is gone detaches its consumer, and this comes back then.
            let _ = sender.send(delivery);
            attached.unsettled.insert(self.last, message);
            tap.credit -= 1;
            queue.taps.push_back(tap);
        }
    }
}

impl Queue {
    fn give_back(&mut self, mut message: Message) {
        message.info.redelivered = true;
        let at = self.ready.partition_point(|ready| ready.place < message.place);
        self.ready.insert(at, message);
    }
}
