//! A versioned object whose type does not implement `VersionedPayload`.
#![allow(unused)]

use listener::{Versioned, notification_endpoint};

#[derive(serde::Deserialize)]
struct Read {
    uuid: String,
}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Versioned<Read>) {}
    //~                           ^^^^^^^^^^^^^^^
}

fn main() {}
