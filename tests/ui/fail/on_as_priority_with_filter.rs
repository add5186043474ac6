//! An attribute that is named after a priority, with a filter.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[error(event_type = "^compute")]
//~ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    async fn failed(&self) {}
}

fn main() {}
