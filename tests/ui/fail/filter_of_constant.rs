//! A filter as a constant.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

const PATTERN: &str = "^a";

#[notification_endpoint(publisher_id = PATTERN)]
//~                                    ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
