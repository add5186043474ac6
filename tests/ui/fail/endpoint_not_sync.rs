//! An endpoint that is not `Sync`.
#![allow(unused)]

use std::cell::Cell;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing {
    seen: Cell<u8>,
}

#[notification_endpoint]
impl Billing {
//~  ^^^^^^^
    fn info(&self) {}
}

fn main() {}
