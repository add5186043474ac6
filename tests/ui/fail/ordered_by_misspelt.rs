//! An order by a part misspelt.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(ordered_by = "event")]
//~                                  ^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
