//! An unknown option of `retry`.
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
