//! A misspelt `on`.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    #[On(info)]
//~ ^^^^^^^^^^^
    async fn created(&self) {}
}

fn main() {}
