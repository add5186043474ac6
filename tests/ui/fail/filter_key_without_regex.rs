//! A key without a regular expression.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(metadata(timestamp))]
//~                              ^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
