//! A mutable receiver by value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(mut self) {}
    //~           ^^^^^^^^
}

fn main() {}
