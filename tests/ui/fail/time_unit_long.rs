//! A duration with the long name of a unit.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "30sec")]
//~                               ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
