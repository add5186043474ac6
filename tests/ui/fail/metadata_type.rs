//! A `metadata` of another type.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, metadata: String) {}
    //~                            ^^^^^^
}

fn main() {}
