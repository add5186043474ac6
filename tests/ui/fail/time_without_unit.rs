//! A duration without a unit.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "30")]
//~                               ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
