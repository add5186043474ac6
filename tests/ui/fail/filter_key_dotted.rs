//! A nested key.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(payload(a.b = "c"))]
//~                              ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
