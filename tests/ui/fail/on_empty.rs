//! An `#[on]` without a list.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on]
//~ ^^^^^
    async fn created(&self) {}
}

fn main() {}
