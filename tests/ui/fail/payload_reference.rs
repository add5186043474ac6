//! A `payload` by reference.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[derive(serde::Deserialize)]
struct Read;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: &Read) {}
    //~                           ^^^^^
}

fn main() {}
