//! An unknown key of the metadata.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(metadata(priority = "a"))]
//~                              ^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
