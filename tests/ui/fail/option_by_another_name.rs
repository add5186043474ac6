//! An option under the name that other libraries use.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(queue = "a")]
//~                     ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
