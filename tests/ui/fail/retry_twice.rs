//! A duplicate option of `retry`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(delay = "1s", delay = "2s"))]
//~                                         ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
