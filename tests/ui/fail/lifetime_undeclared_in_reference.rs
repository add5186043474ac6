//! A lifetime that is not declared, in a reference.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, event_type: &'a str) {}
    //~                               ^^
}

fn main() {}
