//! A method with a const parameter.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info<const N: usize>(&self) {}
    //~     ^^^^^^^^^^^^^^
}

fn main() {}
