//! An `ordered_by` of `payload` without a key.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(ordered_by = "payload")]
//~                                  ^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
