//! An unknown attribute above the block.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

    #[instrument]
//~   ^^^^^^^^^^
#[notification_endpoint]
impl Billing {
    async fn info(&self) {}
}

fn main() {}
