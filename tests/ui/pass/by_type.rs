//! Every extractor of the crate.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{
    Attempt, DeliveryInfo, Notification, Priority, ReceivedAt, notification_endpoint,
};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, whole: &Notification<'_>, priority: Priority, delivery: &DeliveryInfo, attempt: Attempt, since: ReceivedAt) {}
}

fn main() {}
