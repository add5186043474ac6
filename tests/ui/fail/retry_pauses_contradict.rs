//! A `max_pause` that is shorter than `pause`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(pause = "2m", max_pause = "30s"))]
//~                                                     ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
