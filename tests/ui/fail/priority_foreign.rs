//! A method named after a priority of another library.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn fatal(&self) {}
    //~      ^^^^^
}

fn main() {}
