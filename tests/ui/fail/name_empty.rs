//! An empty endpoint name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(name = "")]
//~                            ^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
