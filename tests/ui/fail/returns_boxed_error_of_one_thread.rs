//! A method that returns a boxed error that is not `Send`.
#![allow(unused)]

use std::error::Error;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> Result<(), Box<dyn Error>> {
    //~                     ^^^^^^^^^^^^^^^^^^^^^^^^^^
        Ok(())
    }
}

fn main() {}
