//! Every form of `&self`.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}

    async fn warn(self: &Self) {}

    async fn error<'s>(&'s self) {}

    async fn audit() {}
}

fn main() {}
