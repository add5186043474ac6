//! A `timeout` in `retry(..)`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(attempts = 5, timeout = "30s"))]
//~                                         ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
