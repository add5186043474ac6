//! Arguments by name whose types cannot be read.
#![allow(unused_variables)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct Plain;

#[derive(serde::Deserialize)]
struct Read;

#[notification_endpoint]
impl Billing {
    async fn info(&self, payload: Plain) {}
    async fn audit(&self, payload: &Read) {}
    async fn warn(&self, ctxt: Plain) {}
    async fn error(&self, event_type: u8) {}
    async fn critical(&self, metadata: String) {}
}

fn main() {}
