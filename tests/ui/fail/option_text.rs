//! A string literal instead of an option.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint("notifications")]
    //~                 ^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
