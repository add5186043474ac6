//! An `init` function that returns another type.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

fn other() -> u8 {
    7
}

#[notification_endpoint(init = other)]
//~                            ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
