//! An option by its name in other libraries.
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
