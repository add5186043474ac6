//! A `:` instead of a `=`, before a boolean.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(register: false)]
    //~                         ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
