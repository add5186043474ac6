//! How often the memory allocator is asked for one notification, from the driver's delivery to its
//! settlement: counted exactly, so that a change that costs something is seen on any machine. A
//! binary of its own with one test, for the allocator counts for the whole process.
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

/// As oslo's notifier writes it: version 2, 39 fields of payload, 6 of context.
const BODY: &[u8] = include_bytes!("../bench/in_process/body.json");

/// So many notifications are counted.
const COUNT: u64 = 10_000;

/// What is allocated for each: the text of the notification, the list of what is in its context,
/// what serde_json keeps while it skips a field, and the future of the method.
const EACH: u64 = 4;

/// What is allocated for each where an order is kept.
const EACH_IN_ORDER: u64 = 14;

/// What is allocated once in a while: the channels' blocks, and lists that grow.
const BESIDE: u64 = COUNT / 10;

/// Counts what was acknowledged.
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

/// Borrows what it is given, and allocates nothing.
struct Borrows;

#[notification_endpoint(register = false, event_type = r"^compute\.")]
impl Borrows {
    async fn info(&self, event_type: &str, payload: Server<'_>) {
        assert!(payload.vcpus > 0 && !payload.instance_id.is_empty() && !event_type.is_empty());
    }
}

/// Hands out as many as are counted, and waits until all are acknowledged.
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
    // A little at a time, as a broker's prefetch has it.
    for delivery in deliveries {
        sender.send(delivery).unwrap();
        tokio::task::consume_budget().await;
    }
    counted.all.notified().await;
    let change = region.change();
    (change.allocations + change.reallocations) as u64
}

#[tokio::test]
async fn a_notification_costs_four_allocations_and_its_order_some_more() {
    let unordered = Listener::builder().endpoint(Borrows);
    assert_eq!(each(unordered).await, EACH);
    let ordered = Listener::builder().endpoint(Borrows);
    let key = OrderKey::Payload("instance_id".to_owned());
    assert_eq!(each(ordered.ordered_by(key)).await, EACH_IN_ORDER);
}

/// How many a notification takes.
async fn each(listener: ListenerBuilder) -> u64 {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let transport = Transport::new(Prepared::new(deliveries), "prepared");
    let listener = listener.transport(transport).build().unwrap();
    listener.start().await.unwrap();
    let counted = Arc::new(Counted::default());
    // What is kept from now on grows only here.
    drain(&counted, &sender).await;
    let allocations = drain(&counted, &sender).await;
    drop(sender);
    listener.stop().await;
    listener.wait().await.unwrap();
    let (each, beside) = (allocations / COUNT, allocations % COUNT);
    assert!(beside < BESIDE, "{beside} allocations beside {each} for each of {COUNT}");
    each
}
