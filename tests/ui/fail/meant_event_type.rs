//! A user type in an argument whose name resembles `event_type`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[notification_endpoint]
impl Billing {
    async fn info(&self, event: Plain) {}
    //~                         ^^^^^
}

fn main() {}
