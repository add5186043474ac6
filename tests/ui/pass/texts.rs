//! Publisher and event type in every type.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, publisher_id: &str, event_type: Option<&str>) {}

    async fn warn(&self, publisher_id: Option<String>, event_type: String) {}
}

fn main() {}
