//! A method that returns a `Result` of another value.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> Result<u8, String> {
    //~                     ^^^^^^^^^^^^^^^^^^
        Ok(7)
    }
}

fn main() {}
