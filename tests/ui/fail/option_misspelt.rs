//! A misspelt option.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_typ = "^a")]
//~                     ^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
