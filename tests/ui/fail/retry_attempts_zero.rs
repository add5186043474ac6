//! Zero attempts.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(attempts = 0))]
//~                                      ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
