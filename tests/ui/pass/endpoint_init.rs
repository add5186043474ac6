//! An endpoint that an `init` function creates.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

struct Billing;

impl Billing {
    fn create() -> Self {
        Self
    }
}

#[notification_endpoint(init = Billing::create)]
impl Billing {
    async fn info(&self, payload: u8) {}
}

fn main() {}
