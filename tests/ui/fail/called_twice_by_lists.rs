//! Two `#[on(..)]` that share a priority; a warning, denied here.
#![allow(unused)]
#![deny(deprecated)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(error, critical)]
    async fn failed(&self) {}

    #[on(error, warn)]
    //~  ^^^^^
    async fn alarm(&self) {}
}

fn main() {}
