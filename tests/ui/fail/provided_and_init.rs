//! Two ways to come by one instance.

use listener::notification_endpoint;

struct Billing;

impl Billing {
    fn create() -> Self {
        Billing
    }
}

#[notification_endpoint(provided, init = Billing::create)]
impl Billing {
    async fn info(&self) {}
}

fn main() {}
