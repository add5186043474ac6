//! A context that may be empty.
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
    async fn info(&self, ctxt: Option<Read>) {}
}

fn main() {}
