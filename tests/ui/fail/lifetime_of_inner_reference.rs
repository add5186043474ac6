//! A payload with a `&'static` in it.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Vec<&'static str>) {}
    //~                           ^^^^^^^^^^^^^^^^^
}

fn main() {}
