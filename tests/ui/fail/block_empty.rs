//! A block without methods.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
//~  ^^^^^^^
    const LIMIT: u8 = 1;
}

fn main() {}
