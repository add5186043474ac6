//! An optional `payload` whose type cannot be deserialized.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Option<Plain>) {}
    //~                           ^^^^^^^^^^^^^
}

fn main() {}
