//! A literal brace.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "a{b")]
//~                                  ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
