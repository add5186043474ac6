//! An option of `retry` under the name that other libraries use.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint(retry(max_retries = 3))]
//~                           ^^^^^^^^^^^
impl Billing {
    async fn info(&self) {}
}

fn main() {}
