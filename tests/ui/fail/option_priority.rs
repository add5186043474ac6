//! A priority among the endpoint's options.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(info)]
//~                     ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
