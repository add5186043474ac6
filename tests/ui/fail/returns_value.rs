//! Return types that are no outcome.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

struct NotAnError;

#[notification_endpoint]
impl Billing {
    async fn info(&self) -> u8 {
        7
    }

    fn warn(&self) -> Result<(), NotAnError> {
        Ok(())
    }

    fn error(&self) -> Option<()> {
        None
    }
}

fn main() {}
