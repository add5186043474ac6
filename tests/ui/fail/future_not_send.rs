//! A future that holds something that cannot change threads.

use std::rc::Rc;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {
        let held = Rc::new(1);
        tokio::task::yield_now().await;
        drop(held);
    }
}

fn main() {}
