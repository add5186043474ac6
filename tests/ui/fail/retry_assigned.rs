//! A `retry` with a number instead of a list.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry = 5)]
//~                     ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
