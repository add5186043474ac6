//! A method whose filter only repeats the endpoint's.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "^a")]
impl Billing {
    async fn info(&self) {}

    #[on(info, event_type = "^a")]
    async fn created(&self) {}
    //~      ^^^^^^^
}

fn main() {}
