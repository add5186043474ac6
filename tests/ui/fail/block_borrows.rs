//! An endpoint with a lifetime.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing<'a>(&'a str);

#[notification_endpoint]
impl Billing<'_> {
//~  ^^^^^^^^^^^
    async fn info(&self) {}
}

fn main() {}
