//! An unknown error type.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> Result<(), Missing> {
    //~                                ^^^^^^^
        Ok(())
    }
}

fn main() {}
