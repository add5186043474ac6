//! A duration of more than a week.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(timeout = "200h")]
//~                               ^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
