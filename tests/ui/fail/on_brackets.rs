//! Priorities in brackets.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on([info, warn])]
    //~  ^^^^^^^^^^^^
    async fn failed(&self) {}
}

fn main() {}
