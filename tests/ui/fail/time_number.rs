//! A duration as a number.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(delay = 5))]
//~                                   ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
