//! A method named after a priority with the prefix `on_`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn on_info(&self) {}
    //~      ^^^^^^^
}

fn main() {}
