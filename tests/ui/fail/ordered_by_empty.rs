//! An empty `ordered_by`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(ordered_by = "")]
//~                                  ^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
