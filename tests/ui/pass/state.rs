//! States, required and optional.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{State, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self, State(count): State<u8>, name: Option<State<String>>) {}
}

fn main() {}
