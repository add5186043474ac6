//! An `#[on(..)]` with filters only.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(event_type = "^a")]
//~ ^^^^^^^^^^^^^^^^^^^^^^^^
    async fn info(&self) {}
}

fn main() {}
