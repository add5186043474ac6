//! A `max_delay` that is shorter than `delay`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(delay = "2m", max_delay = "30s"))]
//~                                                     ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
