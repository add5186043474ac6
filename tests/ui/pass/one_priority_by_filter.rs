//! Two methods for one priority with different filters.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = r"^instance\.")]
impl Billing {
    async fn info(&self) {}

    #[on(info, event_type = r"^instance\.create")]
    async fn created(&self) {}

    #[on(info, event_type = r"^instance\.delete")]
    async fn deleted(&self) {}
}

fn main() {}
