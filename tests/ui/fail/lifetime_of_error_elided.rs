//! An error type that borrows, without `<'_>`.
#![allow(unused)]

use listener::{Outcome, notification_endpoint};

#[derive(Debug)]
struct Missing<'a>(&'a str);

impl std::fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Missing<'_> {}

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self) -> Result<Outcome, Missing> {
    //~               ^^^^^^^^^^^^^^^^^^^^^^^^
        Ok(Outcome::Handled)
    }
}

fn main() {}
