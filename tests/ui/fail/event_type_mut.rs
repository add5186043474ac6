//! An `event_type` by mutable reference.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, event_type: &mut String) {}
    //~                              ^^^^^^^^^^^
}

fn main() {}
