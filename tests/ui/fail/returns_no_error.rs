//! A method that returns a `Result` whose error type is not an error.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct NotAnError;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> Result<(), NotAnError> {
    //~                     ^^^^^^^^^^^^^^^^^^^^^^
        Ok(())
    }
}

fn main() {}
