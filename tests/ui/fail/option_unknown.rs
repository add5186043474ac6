//! An unknown option.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(colour = "red")]
//~                     ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
