//! Python's repetition without a minimum.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "a{,3}")]
//~                                  ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
