//! A text argument without a name.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, _: Option<String>) {}
    //~                     ^^^^^^^^^^^^^^
}

fn main() {}
