//! An extractor by reference.
#![allow(unused)]

use listener::{Priority, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, priority: &Priority) {}
    //~                            ^^^^^^^^^
}

fn main() {}
