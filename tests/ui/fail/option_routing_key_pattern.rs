//! A routing key with a pattern.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(binding_key = "notifications.*")]
    //~                 ^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
