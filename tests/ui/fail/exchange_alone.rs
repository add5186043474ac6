//! An `exchange` without a topic.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(exchange = "nova")]
//~                                ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
