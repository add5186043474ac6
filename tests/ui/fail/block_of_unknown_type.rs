//! A block for a type that does not exist.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Biling {
//~  ^^^^^^
    async fn info(&self) {}
}

fn main() {}
