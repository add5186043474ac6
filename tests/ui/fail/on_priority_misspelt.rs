//! A misspelt priority in `#[on(..)]`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[on(info, warning)]
    //~        ^^^^^^^
    async fn created(&self) {}
}

fn main() {}
