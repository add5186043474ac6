//! A value without an option name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(7)]
//~                     ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
