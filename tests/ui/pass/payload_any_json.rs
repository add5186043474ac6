//! A payload of any JSON, parsed and raw.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: serde_json::Value) {}

    async fn warn(&self, payload: &serde_json::value::RawValue) {}
}

fn main() {}
