//! Receivers other than `&self`.
#![allow(unused_mut)]

use std::sync::Arc;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(self) {}
    async fn warn(&mut self) {}
    async fn error(self: Arc<Self>) {}
    async fn critical(mut self) {}
}

fn main() {}
