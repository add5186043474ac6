//! Two methods for one priority without a filter; the warning is silenced.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
#[allow(deprecated)]
impl Billing {
    async fn info(&self) {}

    #[on(info, warn)]
    async fn counted(&self) {}
}

fn main() {}
