//! A `metadata` by value.
#![allow(unused)]

use listener::{Metadata, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, metadata: Metadata) {}
    //~                            ^^^^^^^^
}

fn main() {}
