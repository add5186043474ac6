//! A receiver behind a reference to an `Arc`.
#![allow(unused)]

use std::sync::Arc;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(self: &Arc<Self>) {}
    //~           ^^^^^^^^^^^^^^^^
}

fn main() {}
