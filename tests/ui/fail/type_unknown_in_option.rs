//! An unknown type in an `Option`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Option<Missing>) {}
    //~                                  ^^^^^^^
}

fn main() {}
