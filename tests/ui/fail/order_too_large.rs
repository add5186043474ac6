//! A number that is too large.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(order = 99999999999)]
//~                             ^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
