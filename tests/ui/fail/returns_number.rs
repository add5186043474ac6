//! A method that returns a number.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> u8 {
    //~                     ^^
        7
    }
}

fn main() {}
