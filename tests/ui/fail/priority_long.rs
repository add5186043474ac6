//! A method named `warning`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn warning(&self) {}
    //~      ^^^^^^^
}

fn main() {}
