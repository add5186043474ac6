//! The consumers of a channel as one stream, and lapin's deliveries as those of the driver's contract.
//! `session.rs` owns them; `settlements.rs` takes the settlements.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use lapin::Channel;
use lapin::options::{BasicCancelOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::prefetch::{ConsumerId, PrefetchController};
use super::settlements::SessionSettler;
use crate::drivers::rabbit::connection::channel::{call, consume};
use crate::drivers::rabbit::connection::failure::{Failure, Fault, Operation, operation_failed};
use crate::drivers::rabbit::connection::version::Version;
use crate::drivers::rabbit::core::Core;
use crate::drivers::rabbit::options::RabbitOptions;
use crate::drivers::rabbit::topology::delivery_limit;
use crate::drivers::rabbit::topology::properties::QueueProperties;
use crate::drivers::rabbit::wire;
use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::delivery::{Delivery, Properties, Settlement, Settler};

/// What arrives from a consumer.
pub(crate) enum Arrival {
    Delivery(Box<lapin::message::Delivery>),
    /// The consumer failed along with its channel.
    Fault(Fault),
    /// The consumer has ended: cancelled by this process or by the broker.
    End,
}

/// The consumer from which something arrives.
#[derive(Debug)]
pub(crate) struct ConsumerHandle {
    number: u64,
    pub(crate) queue: Arc<str>,
    /// For the prefetch controller; none for a quarantine queue, whose prefetch is 1.
    pub(crate) id: Option<ConsumerId>,
}

/// What arrives from all consumers of a channel. Ends when there are none.
pub(crate) struct Arrivals {
    sources: Vec<Source>,
    /// The index of the source that is polled first.
    first: usize,
    /// How many more items are taken from it before the next one is polled first.
    left: u32,
}

struct Source {
    handle: Arc<ConsumerHandle>,
    consumer: lapin::Consumer,
}

/// How many items are taken from one consumer in a row, because polling all of them for each item is
/// expensive.
const IN_A_ROW: u32 = 32;

impl Arrivals {
    const fn new() -> Self {
        Self { sources: Vec::new(), first: 0, left: IN_A_ROW }
    }

    fn push(&mut self, handle: Arc<ConsumerHandle>, consumer: lapin::Consumer) {
        self.sources.push(Source { handle, consumer });
    }

    fn poll_first(&mut self, to: usize) {
        self.first = to;
        self.left = IN_A_ROW;
    }
}

impl Stream for Arrivals {
    type Item = (Arc<ConsumerHandle>, Arrival);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.left == 0 {
            this.poll_first(this.first + 1);
        }
        for step in 0..this.sources.len() {
            let at = (this.first + step) % this.sources.len();
            let source = &mut this.sources[at];
            let Poll::Ready(item) = source.consumer.poll_next_unpin(context) else { continue };
            let handle = Arc::clone(&source.handle);
            if step > 0 {
                this.poll_first(at);
            }
            this.left -= 1;
            let arrival = match item {
                Some(Ok(delivery)) => Arrival::Delivery(Box::new(delivery)),
                Some(Err(error)) => Arrival::Fault(Fault::from(&error)),
                None => {
                    this.sources.swap_remove(at);
                    Arrival::End
                }
            };
            return Poll::Ready(Some((handle, arrival)));
        }
        if this.sources.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// The consumers of a channel, and what arrives from them.
pub(crate) struct Consumers {
    last: u64,
    /// The consumers that were not cancelled, with their tags.
    live: BTreeMap<u64, (Arc<ConsumerHandle>, ShortString)>,
    pub(crate) arrivals: Arrivals,
}

impl Consumers {
    pub(crate) fn new() -> Self {
        Self { last: 0, live: BTreeMap::new(), arrivals: Arrivals::new() }
    }

    /// Attaches a consumer to a queue.
    pub(crate) async fn add(
        &mut self,
        context: ConsumeContext<'_>,
        queue: Arc<str>,
        id: Option<ConsumerId>,
        prefetch: u16,
    ) -> Result<(), Failure> {
        // Not global: it applies to each new consumer, and quorum queues accept it.
        call(context.channel.basic_qos(prefetch, BasicQosOptions { global: false }))
            .await
            .map_err(|fault| operation_failed(fault, Operation::set_prefetch(), context.user))?;
        let mut arguments = FieldTable::default();
        if context.options.enable_cancel_on_failover {
            arguments.insert("x-cancel-on-ha-failover".into(), AMQPValue::Boolean(true));
        }
        self.last += 1;
        let (name, tag) = (ShortString::from(&*queue), tag(self.last).into());
        let consumer = consume(context.channel, name, tag, arguments)
            .await
            .map_err(|fault| operation_failed(fault, Operation::consume(&queue), context.user))?;
        let handle = Arc::new(ConsumerHandle { number: self.last, queue, id });
        self.live.insert(self.last, (Arc::clone(&handle), consumer.tag()));
        self.arrivals.push(handle, consumer);
        Ok(())
    }

    /// A consumer has ended. Whether the broker has cancelled it.
    pub(crate) fn remove_ended(&mut self, handle: &ConsumerHandle) -> bool {
        self.live.remove(&handle.number).is_some()
    }

    /// The queues that are consumed.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &str> {
        self.live.values().map(|(handle, _)| &*handle.queue)
    }

    /// Cancels all. Deliveries that the broker sent before still arrive.
    pub(crate) async fn cancel_all(&mut self, channel: &Channel) -> Result<(), Fault> {
        while let Some(first) = self.live.first_entry() {
            let tag = first.get().1.clone();
            call(channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
            first.remove();
        }
        Ok(())
    }

    /// The consumers that are to be replaced.
    pub(crate) fn replaceable(&self, prefetch: &PrefetchController) -> Vec<Arc<ConsumerHandle>> {
        let handles = self.live.values().map(|(handle, _)| handle);
        let is_replaceable =
            |handle: &&Arc<ConsumerHandle>| handle.id.is_some_and(|id| prefetch.replaces(id));
        handles.filter(is_replaceable).cloned().collect()
    }

    /// Cancels some. Deliveries that the broker sent before still arrive, and then their ends.
    pub(crate) async fn cancel(
        &mut self,
        channel: &Channel,
        those: &[Arc<ConsumerHandle>],
    ) -> Result<(), Fault> {
        for handle in those {
            if let Some((_, tag)) = self.live.remove(&handle.number) {
                call(channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
            }
        }
        Ok(())
    }
}

/// The tag of a consumer. The broker requeues the deliveries of a closed channel consumer by consumer,
/// and up to RabbitMQ 3.13 a quorum queue sorts the consumers by their tags as text: this has to be the
/// order in which they were attached.
fn tag(number: u64) -> String {
    format!("listener-{number:010}")
}

/// The channel on which a consumer is attached, and how.
#[derive(Clone, Copy)]
pub(crate) struct ConsumeContext<'o> {
    pub(crate) channel: &'o Channel,
    pub(crate) options: &'o RabbitOptions,
    pub(crate) user: &'o str,
}

/// Makes the deliveries of one session.
pub(crate) struct DeliveryMaker {
    core: Arc<Core>,
    version: Option<Version>,
    settler: Arc<dyn Settler>,
    exchanges: Names,
    routing_keys: Names,
}

impl DeliveryMaker {
    pub(crate) fn new(core: Arc<Core>, version: Option<Version>, settler: SessionSettler) -> Self {
        Self {
            core,
            version,
            settler: Arc::new(settler),
            exchanges: Names::default(),
            routing_keys: Names::default(),
        }
    }

    pub(crate) fn make(&mut self, queue: &Arc<str>, arrived: lapin::message::Delivery) -> Delivery {
        let properties = wire::from_amqp(&arrived.properties);
        let info = DeliveryInfo::new(
            Arc::clone(queue),
            self.exchanges.intern(arrived.exchange.as_str()),
            self.routing_keys.intern(arrived.routing_key.as_str()),
        )
        .redelivered(arrived.redelivered);
        // Only for redeliveries, because the properties of queues are behind a lock.
        let queue_properties = arrived.redelivered.then(|| self.core.broker.queue(queue)).flatten();
        let count =
            delivery_count(&properties, arrived.redelivered, queue_properties, self.version);
        let declared_limit = queue_properties.and_then(|queue| queue.limits.deliveries);
        let is_near =
            count.is_some_and(|count| delivery_limit::is_near(count, declared_limit, self.version));
        let settlement = Settlement::new(Arc::clone(&self.settler), arrived.delivery_tag);
        let info = info.delivery_count(count);
        Delivery::new(Bytes::from(arrived.data), properties, info, settlement).near_limit(is_near)
    }
}

/// How often a quorum queue has delivered a message before, according to its header, which is missing
/// from the first delivery. On other queues a publisher or an earlier queue may have written the header,
/// and since RabbitMQ 4.3 also on a quorum queue that has not counted yet, because nacks are not
/// counted. There `x-acquired-count` has the number of all deliveries, which is at least as high.
fn delivery_count(
    properties: &Properties,
    redelivered: bool,
    queue: Option<QueueProperties>,
    version: Option<Version>,
) -> Option<u64> {
    if !redelivered || queue.and_then(QueueProperties::is_quorum) == Some(false) {
        return None;
    }
    let number = |name| u64::try_from(properties.headers.get(name)?.as_i64()?).ok();
    let count = number("x-delivery-count")?;
    let acquired = match version.is_some_and(Version::counts_closed_channels) {
        true => number("x-acquired-count"),
        false => None,
    };
    acquired.is_none_or(|acquired| count <= acquired).then_some(count)
}

/// Interns names that recur: exchanges, or routing keys.
#[derive(Default)]
struct Names {
    known: HashSet<Arc<str>>,
    /// Usually the next name is the same.
    last: Option<Arc<str>>,
}

/// The most interned names, because there may be any number of routing keys.
const MAX_NAMES: usize = 1024;

impl Names {
    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == *name) {
            return Arc::clone(last);
        }
        let interned = self.look_up(name);
        self.last = Some(Arc::clone(&interned));
        interned
    }

    fn look_up(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        if self.known.len() >= MAX_NAMES {
            self.known.clear();
        }
        let name: Arc<str> = name.into();
        self.known.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::rabbit::topology::properties::QueueType;
    use crate::transport::delivery::HeaderValue;

    #[test]
    fn a_delivery_count_is_used_if_the_queue_has_written_it() {
        let count = |redelivered, is_quorum: Option<bool>, minor, headers: &[(&str, i64)]| {
            let of = |is| if is { QueueType::Quorum } else { QueueType::Classic };
            let queue_type = is_quorum.map(of);
            let mut properties = Properties::default();
            for (name, value) in headers {
                properties.headers.insert(*name, HeaderValue::Int64(*value));
            }
            let queue = Some(QueueProperties { queue_type, ..QueueProperties::default() });
            delivery_count(&properties, redelivered, queue, Some(Version::new(4, minor)))
        };
        for minor in [2, 3] {
            let count = |redelivered, quorum, value| {
                count(redelivered, quorum, minor, &[("x-delivery-count", value)])
            };
            assert_eq!(count(true, Some(true), 12), Some(12));
            assert_eq!(count(true, Some(true), -1), None);
            assert_eq!(count(true, None, 12), Some(12));
            assert_eq!(count(true, Some(false), 12), None);
            assert_eq!(count(false, Some(true), 12), None);
        }
        let both = |minor, acquired| {
            let headers = [("x-delivery-count", 12), ("x-acquired-count", acquired)];
            count(true, Some(true), minor, &headers)
        };
        assert_eq!([1, 11, 12, 20].map(|n| both(3, n)), [None, None, Some(12), Some(12)]);
        // Written by a publisher or by another broker.
        assert_eq!(both(2, 1), Some(12));
    }

    #[test]
    fn tags_sort_as_text_in_the_order_of_the_consumers() {
        let tags: Vec<_> = (1..=1100).map(tag).collect();
        assert!(tags.is_sorted(), "{tags:?}");
    }

    #[test]
    fn a_recurring_name_is_interned() {
        let mut names = Names::default();
        let first = names.intern("notifications.info");
        assert!(Arc::ptr_eq(&first, &names.intern("notifications.info")));
        for n in 0..(2 * MAX_NAMES) {
            names.intern(&n.to_string());
        }
        assert!(names.known.len() <= MAX_NAMES);
    }
}
