//! A filter by key that the endpoint's filter excludes.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(payload(state = "active|building"))]
impl Billing {
    #[on(info, payload(state = "deleted"))]
    //~                        ^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
