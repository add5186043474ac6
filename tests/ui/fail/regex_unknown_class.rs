//! An unknown Unicode class.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = r"\p{Foo}")]
//~                                  ^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
