//! An `init` that makes something else, or takes something.

use listener::notification_endpoint;

struct Billing;
struct Other;

fn other() -> u8 {
    7
}

fn named(_: &str) -> Other {
    Other
}

#[notification_endpoint(init = other)]
impl Billing {
    async fn info(&self) {}
}

#[notification_endpoint(init = named)]
impl Other {
    async fn info(&self) {}
}

fn main() {}
