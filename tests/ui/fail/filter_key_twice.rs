//! A duplicate key in a filter.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(payload(state = "a", "state" = "b"))]
//~                                          ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
