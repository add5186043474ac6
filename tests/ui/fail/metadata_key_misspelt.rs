//! A misspelt key of the metadata.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(metadata(messageid = "a"))]
//~                              ^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
