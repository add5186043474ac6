//! A misspelt topic next to an exchange.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(exchange = "nova", topik = "notifications")]
    //~                                    ^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
