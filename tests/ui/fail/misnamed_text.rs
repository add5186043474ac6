//! A text argument with another name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, name: &str) {}
    //~                  ^^^^
}

fn main() {}
