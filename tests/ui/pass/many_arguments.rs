//! An argument of every kind.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{Attempt, Context, DeliveryInfo, Metadata, Priority, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, ctxt: &Context, publisher_id: &str, event_type: &str, payload: u8, metadata: &Metadata, priority: Priority, delivery: &DeliveryInfo, attempt: Attempt) {}
}

fn main() {}
