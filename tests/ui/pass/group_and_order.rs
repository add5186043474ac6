//! A group and an order.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(group = "billing", order = -1)]
impl Billing {
    async fn info(&self, payload: u8) {}
}

fn main() {}
