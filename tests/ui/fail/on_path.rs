//! A path to a priority.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(Priority::Warn)]
    //~  ^^^^^^^^^^^^^^
    async fn failed(&self) {}
}

fn main() {}
