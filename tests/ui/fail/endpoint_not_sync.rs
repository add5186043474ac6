//! An endpoint that threads cannot share.

use std::cell::Cell;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing {
    seen: Cell<u8>,
}

#[notification_endpoint]
impl Billing {
    fn info(&self) {
        self.seen.set(1);
    }
}

fn main() {}
