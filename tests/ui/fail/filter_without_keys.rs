//! A filter by key without keys.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(context = "a")]
//~                     ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
