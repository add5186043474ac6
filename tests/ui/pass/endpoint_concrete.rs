//! An endpoint of a generic type with concrete arguments.
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
