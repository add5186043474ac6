//! Options that are written in another form.

use listener::notification_endpoint;

const PATTERN: &str = "^a";

#[derive(Default)]
struct Billing;

#[notification_endpoint(
    topics = ["a", "b"],
    exchange("c"),
    publisher_id = PATTERN,
    event_type = concat!("a", "b"),
    context = "d",
    payload(a.b = "e"),
    metadata(timestamp),
    group = 7,
    order = "first",
    provided = true,
    init = "make",
    register,
    crate = crate::listener(),
)]
impl Billing {
    async fn info(&self) {}
}

fn main() {}
