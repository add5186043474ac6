//! A user type in an argument whose name resembles `ctxt`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[derive(serde::Deserialize)]
struct Tenant;

#[notification_endpoint]
impl Billing {
    async fn info(&self, context: Tenant) {}
    //~                           ^^^^^^
}

fn main() {}
