//! Python's conditional group.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "(a)?(?(1)b|c)")]
//~                                  ^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
