//! A `crate` path that does not exist.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(crate = elsewhere)]
//~                             ^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
