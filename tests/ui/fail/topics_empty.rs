//! An empty list of topics.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topics())]
//~                     ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
