//! A filter that compiles to too much.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, event_type = r"\w{5000}")]
    //~                     ^^^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
