//! A path instead of an option.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry::attempts = 5)]
    //~                 ^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
