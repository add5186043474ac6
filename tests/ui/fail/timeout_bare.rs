//! A `timeout` without a value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout)]
//~                     ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
