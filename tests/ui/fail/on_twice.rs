//! Two lists on one method.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, event_type = "^a")]
    #[on(warn, event_type = "^b")]
    async fn created(&self) {}
}

fn main() {}
