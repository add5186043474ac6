//! An `init` path that does not exist.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(init = make)]
//~                            ^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
