//! An option with a list instead of a value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topic = "a", exchange("b"))]
//~                                  ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
