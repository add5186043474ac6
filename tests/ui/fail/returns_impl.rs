//! A method that returns `impl Future`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self) -> impl Future<Output = ()> {
    //~               ^^^^^^^^^^^^^^^^^^^^^^^^
        async {}
    }
}

fn main() {}
