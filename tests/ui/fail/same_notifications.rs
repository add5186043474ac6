//! Two methods that handle the same notifications.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}

    #[on(info)]
    async fn created(&self) {}
    //~      ^^^^^^^
}

fn main() {}
