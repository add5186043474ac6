//! An option without its value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(order = )]
//~                     ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
