//! A method that never returns.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self) -> ! {
    //~               ^
        loop {}
    }
}

fn main() {}
