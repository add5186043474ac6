//! A duplicate topic.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topics("a", "a"))]
//~                                 ^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
