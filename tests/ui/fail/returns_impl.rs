//! Return types that can be seen to be none.

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    fn info(&self) -> impl Future<Output = ()> {
        async {}
    }

    fn warn(&self) -> ! {
        loop {}
    }
}

fn main() {}
