//! A returned `Result` whose error is none.
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
