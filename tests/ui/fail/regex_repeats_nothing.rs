//! A repetition without an expression.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "*.end")]
//~                                  ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
