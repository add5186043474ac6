//! A duration with the shorter unit first.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "30s1m")]
//~                               ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
