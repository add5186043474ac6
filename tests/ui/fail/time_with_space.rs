//! A time with a space before its unit.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "30 s")]
//~                               ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
