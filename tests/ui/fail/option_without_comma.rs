//! A missing comma between two options.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topic = "a" exchange = "b")]
//~                                 ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
