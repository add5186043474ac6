//! A macro that may hide methods.

use listener::notification_endpoint;

macro_rules! methods {
    () => {
        fn warn(&self) {}
    };
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}
    methods!();
}

fn main() {}
