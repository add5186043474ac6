//! A generic method.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info<T>(&self, payload: T) {}
    //~           ^
}

fn main() {}
