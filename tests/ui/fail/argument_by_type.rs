//! An argument whose type is not an extractor.
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
