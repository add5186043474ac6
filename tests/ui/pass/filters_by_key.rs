//! Filters by every part.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(context(project = "^a", "other-key" = "b"), metadata(message_id = "^7"), payload(state = "active|error"))]
impl Billing {
    async fn info(&self, payload: u8) {}
}

fn main() {}
