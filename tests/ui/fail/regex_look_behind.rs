//! Python's look-behind.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "(?<=create)end")]
//~                                  ^^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
