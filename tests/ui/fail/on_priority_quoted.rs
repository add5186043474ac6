//! A priority in quotes.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on("error")]
    //~  ^^^^^^^
    async fn created(&self) {}
}

fn main() {}
