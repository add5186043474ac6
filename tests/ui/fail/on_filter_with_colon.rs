//! A `:` after a filter of a method.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, event_type: "^compute")]
    //~                  ^
    async fn failed(&self) {}
}

fn main() {}
