//! A payload that borrows from the notification.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::notification_endpoint;

#[derive(serde::Deserialize)]
struct Read<'r> {
    uuid: &'r str,
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Read<'_>) {}
}

fn main() {}
