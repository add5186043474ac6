//! A payload of an unknown type.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Missing) {}
    //~                           ^^^^^^^
}

fn main() {}
