//! A type of the program in an argument named like `publisher_id`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[notification_endpoint]
impl Billing {
    async fn info(&self, sender: Plain) {}
    //~                          ^^^^^
}

fn main() {}
