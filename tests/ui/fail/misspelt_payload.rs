//! A user type in a misspelt `payload`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[notification_endpoint]
impl Billing {
    async fn info(&self, paylod: Plain) {}
    //~                          ^^^^^
}

fn main() {}
