//! An unknown escape sequence.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = r"^\instance")]
//~                                  ^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
