//! A payload as an enum.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Read {
    Number(u8),
    Text(String),
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Read) {}
}

fn main() {}
