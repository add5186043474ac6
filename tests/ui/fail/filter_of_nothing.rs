//! A filter that matches no text.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, event_type = r"[^\s\S]")]
    //~                     ^^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
