//! An `event_type` of another type.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, event_type: u8) {}
    //~                              ^^
}

fn main() {}
