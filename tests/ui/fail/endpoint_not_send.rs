//! An endpoint that is not `Send`.
#![allow(unused)]

use std::sync::MutexGuard;

use listener::notification_endpoint;

struct Billing {
    held: MutexGuard<'static, u8>,
}

#[notification_endpoint(provided)]
impl Billing {
//~  ^^^^^^^
    fn info(&self) {}
}

fn main() {}
