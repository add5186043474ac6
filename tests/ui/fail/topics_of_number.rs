//! A list of topics with an entry that is not a string.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topics(5))]
    //~                        ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
