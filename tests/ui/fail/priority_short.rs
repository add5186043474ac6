//! A method named `err`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn err(&self) {}
    //~      ^^^
}

fn main() {}
