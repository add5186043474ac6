//! An `ordered_by` with a key only.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(ordered_by = "instance_id")]
//~                                  ^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
