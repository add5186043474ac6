//! A flag with a value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(provided = true)]
//~                     ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
