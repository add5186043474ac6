//! A generic block without `instances`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing<T>(T);

#[notification_endpoint]
impl<T: Default> Billing<T> {
//~  ^^^^^^^^^^
    async fn info(&self) {}
}

fn main() {}
