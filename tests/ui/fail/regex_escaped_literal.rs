//! An error after escape sequences in the literal.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "\u{e9}\t\\.(")]
//~                                  ^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
