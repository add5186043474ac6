//! A method that is generic over a number.
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
