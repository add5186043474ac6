//! A duration with a space before the unit.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "30 s")]
//~                               ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
