//! The number of attempts without its name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(5))]
    //~                       ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
