//! Python's backreference.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = r"(a)\1")]
//~                                  ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
