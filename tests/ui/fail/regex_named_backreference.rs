//! Python's backreference by name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "(?P<a>b)(?P=a)")]
//~                                  ^^^^^^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
