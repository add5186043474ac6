//! `on` with a path.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[listener::on(info)]
//~   ^^^^^^^^^^^^
    async fn failed(&self) {}
}

fn main() {}
