//! A duration in days.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(max_delay = "1d"))]
//~                                       ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
