//! A list written as a value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topics = ["a", "b"])]
//~                     ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
