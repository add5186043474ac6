//! A context by reference.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{Context, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, ctxt: &Context) {}
}

fn main() {}
