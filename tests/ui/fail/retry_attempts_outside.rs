//! A number of attempts outside of `retry(..)`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(attempts = 5)]
//~                     ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
