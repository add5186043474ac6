//! From lapin's consumers to our deliveries: one stream of what arrives from all queues of a
//! session. Which session that is, and what becomes of its end, is in `session.rs` and
//! `supervisor.rs`; what a delivery's settlement does, in `settle.rs`.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt};
use lapin::Channel;
use lapin::options::BasicConsumeOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::failure::{self, Failure, Fault};
use super::link::call;
use super::options::RabbitOptions;
use super::settle::SessionSettler;
use super::wire;
use crate::notification::delivery_info::DeliveryInfo;
use crate::transport::delivery::{Delivery, Settlement, Settler};

/// What comes from a queue.
pub(super) enum Arrival {
    Delivery(Box<lapin::message::Delivery>),
    /// The consumer failed along with its channel.
    Fault(Fault),
    /// Nothing more will come: cancelled, by us or by the broker.
    End,
}

pub(super) type Arrivals = SelectAll<Pin<Box<dyn Stream<Item = (Arc<str>, Arrival)> + Send>>>;

/// Attaches a consumer to each queue; their tags, and what arrives.
pub(super) async fn consume(
    channel: &Channel,
    options: &RabbitOptions,
    queues: &[Arc<str>],
    user: &str,
) -> Result<(Vec<ShortString>, Arrivals), Failure> {
    let mut tags = Vec::with_capacity(queues.len());
    let mut arrivals = SelectAll::new();
    for (index, queue) in queues.iter().enumerate() {
        let mut arguments = FieldTable::default();
        if options.enable_cancel_on_failover {
            arguments.insert("x-cancel-on-ha-failover".into(), AMQPValue::Boolean(true));
        }
        let consumer = call(channel.basic_consume(
            ShortString::from(&**queue),
            format!("listener-{}", index + 1).into(),
            BasicConsumeOptions::default(),
            arguments,
        ))
        .await
        .map_err(|fault| failure::doing(fault, &format!("consume queue {queue:?}"), user))?;
        tags.push(consumer.tag());
        let queue = Arc::clone(queue);
        let arrived = consumer
            .map(|item| match item {
                Ok(delivery) => Arrival::Delivery(Box::new(delivery)),
                Err(error) => Arrival::Fault(Fault::from(&error)),
            })
            .chain(stream::once(async { Arrival::End }))
            .map(move |arrival| (Arc::clone(&queue), arrival));
        arrivals.push(arrived.boxed());
    }
    Ok((tags, arrivals))
}

/// Makes deliveries of one session.
pub(super) struct Maker {
    settler: Arc<dyn Settler>,
    names: Names,
}

impl Maker {
    pub(super) fn new(settler: SessionSettler) -> Self {
        Self { settler: Arc::new(settler), names: Names::default() }
    }

    pub(super) fn delivery(
        &mut self,
        queue: &Arc<str>,
        arrived: lapin::message::Delivery,
    ) -> Delivery {
        let info = DeliveryInfo::new(
            Arc::clone(queue),
            self.names.shared(arrived.exchange.as_str()),
            self.names.shared(arrived.routing_key.as_str()),
        )
        .redelivered(arrived.redelivered);
        Delivery::new(
            Bytes::from(arrived.data),
            wire::from_amqp(&arrived.properties),
            info,
            Settlement::new(Arc::clone(&self.settler), arrived.delivery_tag),
        )
    }
}

/// Names that come again and again: exchanges and routing keys.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

/// A queue may be fed with ever new routing keys; they are forgotten beyond so many.
const NAMES: usize = 1024;

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        if self.0.len() >= NAMES {
            self.0.clear();
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_again_is_shared() {
        let mut names = Names::default();
        let first = names.shared("notifications.info");
        assert!(Arc::ptr_eq(&first, &names.shared("notifications.info")));
        for n in 0..(2 * NAMES) {
            names.shared(&n.to_string());
        }
        assert!(names.0.len() <= NAMES);
    }
}
