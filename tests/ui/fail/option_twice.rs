//! The same option again.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topic = "a", topic = "b", payload(state = "c", "state" = "d"))]
impl Billing {
    async fn info(&self) {}
}

fn main() {}
