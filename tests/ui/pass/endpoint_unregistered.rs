//! An endpoint that is not registered.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

struct Billing;

#[notification_endpoint(register = false)]
impl Billing {
    async fn info(&self, payload: u8) {}
}

fn main() {}
