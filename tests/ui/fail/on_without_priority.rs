//! Lists without a priority, and no list at all.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on]
    async fn a(&self) {}

    #[on(event_type = "^a")]
    async fn info(&self) {}

    #[on = "info"]
    async fn b(&self) {}
}

fn main() {}
