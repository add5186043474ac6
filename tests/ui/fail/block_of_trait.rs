//! The attribute on a trait implementation.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

trait Handles {
    fn info(&self);
}

#[notification_endpoint]
impl Handles for Billing {
//~  ^^^^^^^
    fn info(&self) {}
}

fn main() {}
