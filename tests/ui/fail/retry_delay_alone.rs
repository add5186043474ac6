//! A delay with only one attempt.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(attempts = 1, delay = "5s"))]
//~                                                 ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
