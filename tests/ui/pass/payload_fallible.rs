//! A payload as a `Result`.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{PartError, notification_endpoint};

#[derive(serde::Deserialize)]
struct Read {
    uuid: String,
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Result<Read, PartError>) {}
}

fn main() {}
