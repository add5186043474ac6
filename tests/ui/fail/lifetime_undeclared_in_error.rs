//! A lifetime that is not declared, in the returned type.
#![allow(unused)]

use listener::notification_endpoint;

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
    async fn info(&self) -> Result<(), Missing<'a>> {
    //~                                        ^^
        Ok(())
    }
}

fn main() {}
