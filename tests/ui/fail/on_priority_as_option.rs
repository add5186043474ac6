//! A priority with a value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info = "^compute")]
    //~  ^^^^
    async fn created(&self) {}
}

fn main() {}
