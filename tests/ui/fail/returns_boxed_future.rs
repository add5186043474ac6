//! A method that returns a boxed future.
#![allow(unused)]

use std::pin::Pin;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    //~               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        Box::pin(async {})
    }
}

fn main() {}
