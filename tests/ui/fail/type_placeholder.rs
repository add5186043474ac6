//! `_` as the type of an argument.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: _) {}
    //~                           ^
}

fn main() {}
