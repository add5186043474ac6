//! A regular expression with a backslash in a string that is not raw.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(event_type = "compute\.instance")]
    //~                                       ^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
