//! A method that returns text.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> &'static str {
    //~                     ^^^^^^^^^^^^
        ""
    }
}

fn main() {}
