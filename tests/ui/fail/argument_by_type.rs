//! An argument that is no extractor.
#![allow(unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[notification_endpoint]
impl Billing {
    async fn info(&self, body: Plain) {}
}

fn main() {}
