//! An endpoint that is one of a generic type.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing<T>(T);

#[notification_endpoint]
impl Billing<u8> {
    async fn info(&self, payload: u8) {}
}

fn main() {}
