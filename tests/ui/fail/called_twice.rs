//! An `#[on(..)]` with a priority that another method handles; a warning, denied here.
#![allow(unused)]
#![deny(deprecated)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {}

    #[on(info, warn)]
    //~  ^^^^
    async fn created(&self) {}
}

fn main() {}
