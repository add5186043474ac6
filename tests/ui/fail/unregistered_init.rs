//! An `init` with `register = false`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(register = false, init = Billing::default)]
//~                                       ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
