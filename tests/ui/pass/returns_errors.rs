//! Every kind of error.
#![deny(warnings)]
#![allow(dead_code, unused_variables)]

use listener::{Outcome, notification_endpoint};

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> Result<(), String> {
        Err("a text".to_owned())
    }

    async fn warn(&self) -> Result<(), &'static str> {
        Err("a text")
    }

    async fn error(&self) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Outcome::Handled)
    }

    fn audit(&self) -> std::io::Result<()> {
        Ok(())
    }
}

fn main() {}
