//! A text argument whose name resembles `event_type`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, kind: &str) {}
    //~                  ^^^^
}

fn main() {}
