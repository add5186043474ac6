//! A `'static` receiver.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&'static self) {}
    //~           ^^^^^^^^^^^^^
}

fn main() {}
