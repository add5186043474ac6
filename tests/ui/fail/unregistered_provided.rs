//! A `provided` with `register = false`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(register = false, provided)]
//~                                       ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
