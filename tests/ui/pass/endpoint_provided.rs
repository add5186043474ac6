//! An endpoint that the program passes to the builder.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

struct Billing {
    limit: u8,
}

#[notification_endpoint(provided)]
impl Billing {
    async fn info(&self, payload: u8) {}
}

fn main() {}
