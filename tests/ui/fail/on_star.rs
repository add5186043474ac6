//! A `*` as all priorities.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(*)]
    //~  ^
    async fn failed(&self) {}
}

fn main() {}
