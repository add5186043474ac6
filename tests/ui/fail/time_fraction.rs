//! A duration with a fraction.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "1.5s")]
//~                               ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
