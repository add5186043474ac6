//! A list that stands there under a condition.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[cfg_attr(all(), on(info))]
    async fn created(&self) {}
}

fn main() {}
