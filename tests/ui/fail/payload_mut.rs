//! A `payload` by mutable reference.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: &mut u8) {}
    //~                           ^^^^^^^
}

fn main() {}
