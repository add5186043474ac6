//! An empty `group`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(group = "")]
//~                             ^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
