//! Options that say nothing beside `register = false`.

use listener::notification_endpoint;

struct Billing;

#[notification_endpoint(register = false, provided, group = "g")]
impl Billing {
    async fn info(&self) {}
}

fn main() {}
