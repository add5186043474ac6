//! The metadata has two keys.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(metadata(messageid = "a", priority = "b"))]
impl Billing {
    async fn info(&self) {}
}

fn main() {}
