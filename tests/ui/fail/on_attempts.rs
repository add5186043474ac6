//! A number of attempts for one method.
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
