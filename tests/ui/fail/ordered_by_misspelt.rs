//! A misspelt part in `ordered_by`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(ordered_by = "event")]
//~                                  ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
