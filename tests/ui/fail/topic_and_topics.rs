//! Both `topic` and `topics`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topic = "a", topics("b"))]
//~                                  ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
