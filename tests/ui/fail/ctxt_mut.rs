//! A `ctxt` by mutable reference.
#![allow(unused)]

use listener::{Context, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, ctxt: &mut Context) {}
    //~                        ^^^^^^^^^^^^
}

fn main() {}
