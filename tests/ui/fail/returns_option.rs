//! A method that returns an `Option`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> Option<()> {
    //~                     ^^^^^^^^^^
        None
    }
}

fn main() {}
