//! An endpoint without `Default`, `init` or `provided`.
#![allow(unused)]

use listener::notification_endpoint;

struct Billing;

#[notification_endpoint]
impl Billing {
//~  ^^^^^^^
    async fn info(&self) {}
}

fn main() {}
