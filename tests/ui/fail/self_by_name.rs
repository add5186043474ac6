//! The instance by the name of its type.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(billing: &Billing) {}
    //~                    ^^^^^^^^
}

fn main() {}
