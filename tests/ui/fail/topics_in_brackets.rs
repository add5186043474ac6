//! A list of topics in brackets.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topics = ["one", "other"])]
    //~                 ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
