//! A `payload` by `'static` reference.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: &'static str) {}
    //~                           ^^^^^^^^^^^^
}

fn main() {}
