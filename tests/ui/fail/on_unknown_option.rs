//! A misspelt filter in `#[on(..)]`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, event = "^a")]
    //~        ^^^^^
    async fn created(&self) {}
}

fn main() {}
