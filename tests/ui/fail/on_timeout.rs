//! A `timeout` in `#[on(..)]`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, timeout = "30s")]
    //~        ^^^^^^^
    async fn created(&self) {}
}

fn main() {}
