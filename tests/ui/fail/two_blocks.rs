//! Two blocks for one type.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}
}

#[notification_endpoint]
impl Billing {
//~  ^^^^^^^
    async fn warn(&self) {}
}

fn main() {}
