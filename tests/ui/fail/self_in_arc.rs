//! The instance in an `Arc`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(this: std::sync::Arc<Self>) {}
    //~                 ^^^^^^^^^^^^^^^^^^^^
}

fn main() {}
