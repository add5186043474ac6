//! A `payload` of type `impl Trait`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: impl Copy) {}
    //~                           ^^^^^^^^^
}

fn main() {}
