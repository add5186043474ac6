//! A type of the program in an argument named like `ctxt`.
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
