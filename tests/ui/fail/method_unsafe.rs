//! An unsafe method.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    unsafe fn info(&self) {}
//~ ^^^^^^
}

fn main() {}
