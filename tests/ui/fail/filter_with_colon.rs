//! A `:` instead of a `=`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type: "^compute")]
    //~                           ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
