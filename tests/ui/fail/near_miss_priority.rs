//! Methods named nearly like a priority.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn warning(&self) {}
    async fn err(&self) {}
    async fn critcal(&self) {}
    async fn fatal(&self) {}
    async fn on_info(&self) {}
}

fn main() {}
