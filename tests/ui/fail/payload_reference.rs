//! A `payload` by reference to a type that is read by value.
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
