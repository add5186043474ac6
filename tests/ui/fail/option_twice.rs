//! A duplicate option.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topic = "a", topic = "b")]
//~                                  ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
