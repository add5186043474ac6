//! An unclosed character class.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "^comp[ute")]
//~                                  ^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
