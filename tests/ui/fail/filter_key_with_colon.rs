//! A `:` after the key of a filter.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(context(tenant: "^a"))]
    //~                               ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
