//! An attribute with another name of a priority.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[warning]
//~ ^^^^^^^^^^
    async fn failed(&self) {}
}

fn main() {}
