//! An `order` in `#[on(..)]`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, order = 1)]
    //~        ^^^^^
    async fn created(&self) {}
}

fn main() {}
