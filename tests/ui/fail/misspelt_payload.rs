//! A type of the program's own under `payload` misspelt.
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
