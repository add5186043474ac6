//! A helper method.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}

    fn total<T: Copy>(&mut self, item: T) -> T {
   //~ ^^^^^
        item
    }
}

fn main() {}
