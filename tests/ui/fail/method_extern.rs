//! A method with another calling convention.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    extern "C" fn info(&self) {}
//~ ^^^^^^^^^^
}

fn main() {}
