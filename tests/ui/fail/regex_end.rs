//! Python's `\Z`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = r"end\Z")]
//~                                  ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
