//! A text argument whose name resembles `publisher_id`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, publisher: &str) {}
    //~                  ^^^^^^^^^
}

fn main() {}
