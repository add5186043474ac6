//! An `instances` on a block that is not generic.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(instances(Billing))]
//~                     ^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
