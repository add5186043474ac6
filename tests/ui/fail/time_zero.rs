//! A duration of zero.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "0s")]
//~                               ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
