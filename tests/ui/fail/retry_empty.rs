//! An empty `retry(..)`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry())]
//~                     ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
