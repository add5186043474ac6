//! A fallible `payload` whose error type is not `PartError`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[derive(serde::Deserialize)]
struct Read;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Result<Read, String>) {}
    //~                           ^^^^^^^^^^^^^^^^^^^^
}

fn main() {}
