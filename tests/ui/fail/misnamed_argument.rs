//! Arguments that can only be meant by name.
#![allow(unused_variables)]

use listener::{Context, Metadata, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, context: &Context, publisher: &str, kind: &str, meta: &Metadata) {}
    async fn warn(&self, c: &Context, name: &str, _: Option<String>) {}
}

fn main() {}
