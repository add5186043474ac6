//! A routing key instead of a topic.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(routing_key = "notifications.info")]
//~                     ^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
