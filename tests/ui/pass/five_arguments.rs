//! The five named arguments, in another order.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{Context, Metadata, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, metadata: &Metadata, payload: u8, event_type: &str, publisher_id: &str, ctxt: &Context) {}
}

fn main() {}
