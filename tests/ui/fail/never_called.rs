//! A filter that the endpoint's filter excludes.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = r"^volume\.")]
impl Billing {
    #[on(info, event_type = r"^instance\.")]
    //~                     ^^^^^^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
