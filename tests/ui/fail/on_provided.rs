//! A flag of the endpoint in `#[on(..)]`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, provided)]
    //~        ^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
