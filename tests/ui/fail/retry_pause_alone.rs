//! A pause with only one attempt.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(attempts = 1, pause = "5s"))]
//~                                                 ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
