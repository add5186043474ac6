//! A payload as an `Option`.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(serde::Deserialize)]
struct Read {
    uuid: String,
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Option<Read>) {}
}

fn main() {}
