//! `metadata` by mutable reference.
#![allow(unused)]

use listener::{Metadata, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, metadata: &mut Metadata) {}
    //~                            ^^^^^^^^^^^^^
}

fn main() {}
