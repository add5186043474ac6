//! The metadata.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{Metadata, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, metadata: &Metadata) {}
}

fn main() {}
