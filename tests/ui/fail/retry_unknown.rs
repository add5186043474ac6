//! A part of `retry` that there is not.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(jitter = true))]
//~                           ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
