//! Two methods with the same list and the same filter.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, warn, event_type = "^a")]
    async fn one(&self) {}

    #[on(warn, info, event_type = "^a")]
    async fn other(&self) {}
    //~      ^^^^^
}

fn main() {}
