//! A string instead of a boolean.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(register = "no")]
//~                                ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
