//! An empty topic.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topic = "")]
//~                             ^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
