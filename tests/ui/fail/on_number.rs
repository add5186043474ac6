//! A number as a priority.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, 5)]
    //~        ^
    async fn failed(&self) {}
}

fn main() {}
