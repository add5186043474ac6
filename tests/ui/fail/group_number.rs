//! A number instead of a string.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(group = 7)]
//~                             ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
