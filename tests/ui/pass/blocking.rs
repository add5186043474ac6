//! A blocking method, with and without a receiver.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(payload: u8) {}

    fn warn(&self, payload: u8) {}
}

fn main() {}
