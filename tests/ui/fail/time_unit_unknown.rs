//! A duration with an unknown unit.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "30fortnights")]
//~                               ^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
