//! An endpoint that borrows.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing<'a>(&'a str);

#[notification_endpoint]
impl Billing<'_> {
    async fn info(&self) {
        let _ = self.0;
    }
}

fn main() {}
