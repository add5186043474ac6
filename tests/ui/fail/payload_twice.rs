//! `payload` and `_payload` together.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(serde::Deserialize)]
struct Read {
    uuid: String,
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Read, _payload: Read) {}
    //~                                 ^^^^^^^^
}

fn main() {}
