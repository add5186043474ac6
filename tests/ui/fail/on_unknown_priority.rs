//! Priorities that are none in the list.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, warning, foo, "error", info)]
    async fn created(&self) {}
}

fn main() {}
