//! A type of the program in an argument named like `payload`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[notification_endpoint]
impl Billing {
    async fn info(&self, body: Plain) {}
    //~                        ^^^^^
}

fn main() {}
