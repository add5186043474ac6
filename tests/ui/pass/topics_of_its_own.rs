//! Topics and an exchange for one endpoint.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topics("notifications", "versioned_notifications"), exchange = "nova")]
impl Billing {
    async fn info(&self, payload: u8) {}
}

fn main() {}
