//! A delay without its name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry("1s"))]
    //~                       ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
