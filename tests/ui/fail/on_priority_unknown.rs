//! A word in `#[on(..)]` that is like no priority.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, foo)]
    //~        ^^^
    async fn created(&self) {}
}

fn main() {}
