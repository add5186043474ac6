//! A string instead of a number.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(order = "first")]
//~                             ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
