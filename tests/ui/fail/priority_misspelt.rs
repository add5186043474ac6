//! A method named after a misspelt priority.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn critcal(&self) {}
    //~      ^^^^^^^
}

fn main() {}
