//! An endpoint that is an enum.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
enum Billing {
    #[default]
    Quiet,
    Loud,
}

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: u8) {}
}

fn main() {}
