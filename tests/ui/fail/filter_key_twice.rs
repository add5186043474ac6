//! A key twice in one filter.
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
