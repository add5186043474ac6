//! Two methods with the same name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}

    #[on(warn)]
    async fn info(&self) {}
    //~      ^^^^
}

fn main() {}
