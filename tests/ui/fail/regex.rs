//! Filters that are no regular expressions, or only Python's.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(
    publisher_id = r"^compute\.(host",
    event_type = "^(?!instance)",
    context(user = r"(a)\1"),
    payload(state = r"é\Z", size = "a{b")
)]
impl Billing {
    #[on(info, event_type = "[")]
    async fn created(&self) {}
}

fn main() {}
