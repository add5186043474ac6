//! A routing key for a method.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(routing_key = "notifications.info")]
    //~  ^^^^^^^^^^^
    async fn failed(&self) {}
}

fn main() {}
