//! The attribute twice on one block.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
#[notification_endpoint(group = "g")]
//~^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
