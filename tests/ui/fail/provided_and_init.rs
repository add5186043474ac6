//! Both `provided` and `init`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(provided, init = Billing::default)]
//~                               ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
