//! Every return type, with errors of several kinds.

use std::error::Error;

use listener::{BoxError, Outcome, notification_endpoint};

#[derive(Default)]
struct Returns;

type Done<'a> = Result<(), &'a str>;

#[notification_endpoint]
impl Returns {
    fn audit() {}

    async fn debug() -> () {}

    fn info() -> Outcome {
        Outcome::Handled
    }

    async fn warn() -> Result<(), String> {
        Err("no".to_owned())
    }

    fn error() -> Result<Outcome, BoxError> {
        Ok(Outcome::retry())
    }

    async fn critical() -> Result<Outcome, Box<dyn Error + Send + Sync>> {
        Ok("1".parse::<u8>().map(|_| Outcome::Handled)?)
    }

    fn sample<'a>(payload: &'a str) -> Done<'a> {
        Err(payload)
    }
}

fn main() {}
