//! Options that cannot be read.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(topic = "a" exchange = "b", 7, order = , group = "")]
impl Billing {
    async fn info(&self) {}
}

fn main() {}
