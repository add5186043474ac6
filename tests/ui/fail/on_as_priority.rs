//! An attribute that is named after a priority.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[info]
//~ ^^^^^^^
    async fn created(&self) {}
}

fn main() {}
