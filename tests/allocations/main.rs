//! How many allocations one notification takes, from the driver's delivery to its settlement: counted
//! exactly, so that a regression shows on any machine. A binary of its own with one test, because the
//! allocator counts for the whole process.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use listener::ListenerBuilder;
use listener::driver::SettleError;
use listener::driver::{Delivery, Properties, Settle, Settlement, Settler};
use listener::{DeliveryInfo, Listener, OrderKey, Transport, notification_endpoint};
use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::mpsc;

use crate::prepared::Prepared;

#[path = "../flow/prepared.rs"]
mod prepared;

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A body as the notifier of oslo.messaging writes it: version 2, 39 fields of payload, 6 of context.
const BODY: &[u8] = include_bytes!("../bench/in_process/body.json");

/// How many notifications are counted.
const COUNT: u64 = 10_000;

/// The allocations for each: the list of its context, the buffers of serde_json while it finds the fields
/// and while it skips one of the payload, and the future of the method. The memory of its text is reused.
const EACH: u64 = 4;

/// The allocations for each with an order key.
const EACH_ORDERED: u64 = 16;

/// The allocations that occur now and then: blocks of channels, and growing lists.
const OCCASIONAL: u64 = COUNT / 10;

/// Counts acknowledgements.
#[derive(Default)]
struct Counted {
    count: AtomicU64,
    all: tokio::sync::Notify,
}

impl Settler for Counted {
    fn settle(&self, _: u64, settle: Settle) -> Result<(), SettleError> {
        assert_eq!(settle, Settle::Ack);
        if (self.count.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(COUNT) {
            self.all.notify_one();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}

#[derive(Deserialize)]
struct Server<'n> {
    instance_id: &'n str,
    vcpus: u32,
}

/// Borrows its arguments, and allocates nothing.
struct Borrows;

#[notification_endpoint(register = false, event_type = r"^compute\.")]
impl Borrows {
    async fn info(&self, event_type: &str, payload: Server<'_>) {
        assert!(payload.vcpus > 0 && !payload.instance_id.is_empty() && !event_type.is_empty());
    }
}

/// Delivers `COUNT` notifications, and waits until all are acknowledged.
async fn drain(counted: &Arc<Counted>, sender: &mpsc::UnboundedSender<Delivery>) -> u64 {
    let queue: Arc<str> = "notifications.info".into();
    let deliveries: Vec<Delivery> = (0..COUNT)
        .map(|tag| {
            let settlement = Settlement::new(Arc::clone(counted) as Arc<dyn Settler>, tag);
            let info =
                DeliveryInfo::new(Arc::clone(&queue), Arc::clone(&queue), Arc::clone(&queue));
            let body = Bytes::from(BODY.to_vec());
            Delivery::new(body, Properties::default(), info, settlement)
        })
        .collect();
    let region = Region::new(MEMORY);
    // A few at a time, as with a prefetch.
    for delivery in deliveries {
        sender.send(delivery).unwrap();
        tokio::task::consume_budget().await;
    }
    counted.all.notified().await;
    let change = region.change();
    (change.allocations + change.reallocations) as u64
}

#[tokio::test]
async fn a_notification_costs_four_allocations_and_more_with_an_order_key() {
    let unordered = Listener::builder().endpoint(Borrows);
    assert_eq!(each(unordered).await, EACH);
    let ordered = Listener::builder().endpoint(Borrows);
    let key = OrderKey::Payload("instance_id".to_owned());
    assert_eq!(each(ordered.ordered_by(key)).await, EACH_ORDERED);
}

/// How many allocations a notification takes.
async fn each(listener: ListenerBuilder) -> u64 {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let transport = Transport::new(Prepared::new(deliveries), "prepared");
    let listener = listener.transport(transport).build().unwrap();
    listener.start().await.unwrap();
    let counted = Arc::new(Counted::default());
    // The first run grows all lists.
    drain(&counted, &sender).await;
    let allocations = drain(&counted, &sender).await;
    drop(sender);
    listener.stop().await;
    listener.wait().await.unwrap();
    let (each, occasional) = (allocations / COUNT, allocations % COUNT);
    assert!(
        occasional < OCCASIONAL,
        "{occasional} occasional allocations, and {each} for each of {COUNT}"
    );
    each
}
