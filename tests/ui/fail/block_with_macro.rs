//! A macro among the methods.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

macro_rules! methods {
    () => {
        fn helper() {}
    };
}

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}

    methods!();
//~ ^^^^^^^
}

fn main() {}
