//! A value in brackets.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout["30s"])]
    //~                        ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
