//! A fallible payload with a field that borrows for `'static`.
#![allow(unused)]

use listener::{PartError, notification_endpoint};

#[derive(serde::Deserialize)]
struct Read {
    code: &'static str,
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Result<Read, PartError>) {}
    //~                           ^^^^^^^^^^^^^^^^^^^^^^^
}

fn main() {}
