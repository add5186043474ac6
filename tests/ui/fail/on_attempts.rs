//! A number of attempts in `#[on(..)]`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, attempts = 5)]
    //~        ^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
