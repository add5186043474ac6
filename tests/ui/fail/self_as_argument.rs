//! The instance as an argument that is not the receiver.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(this: &Self) {}
    //~                 ^^^^^
}

fn main() {}
