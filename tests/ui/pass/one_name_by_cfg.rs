//! Two methods of one name, of which one is compiled.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[cfg(test)]
    async fn info(&self, payload: u8) {}

    #[cfg(not(test))]
    async fn info(&self) {}
}

fn main() {}
