//! An invalid filter of a method.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, event_type = "[")]
    //~                     ^^^
    async fn created(&self) {}
}

fn main() {}
