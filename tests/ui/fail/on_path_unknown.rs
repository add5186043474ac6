//! A path to something else in a list of priorities.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(Level::Nothing)]
    //~  ^^^^^^^^^^^^^^
    async fn failed(&self) {}
}

fn main() {}
