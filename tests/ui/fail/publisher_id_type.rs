//! A `publisher_id` by reference to a `String`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, publisher_id: &String) {}
    //~                                ^^^^^^^
}

fn main() {}
