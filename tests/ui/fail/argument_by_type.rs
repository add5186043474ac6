//! An argument by type that is no extractor.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[notification_endpoint]
impl Billing {
    async fn info(&self, thing: Plain) {}
    //~                         ^^^^^
}

fn main() {}
