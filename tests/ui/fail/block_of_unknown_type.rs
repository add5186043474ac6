//! A block of a type that there is not.
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
