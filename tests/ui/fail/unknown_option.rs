//! Options that there are not.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(publisher = "^a", event_typ = "^b", colour = "red")]
impl Billing {
    #[on(info, event = "^c", topic = "d")]
    async fn created(&self) {}
}

fn main() {}
