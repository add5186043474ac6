//! A guard that is dropped before an `.await`, and still in scope.
#![allow(unused)]

use listener::notification_endpoint;

#[derive(Default)]
struct Billing(std::sync::Mutex<u32>);

#[notification_endpoint]
impl Billing {
    async fn info(&self) {
    //~      ^^^^
        let mut count = self.0.lock().expect("no method panics");
        *count += 1;
        drop(count);
        tokio::task::yield_now().await;
    }
}

fn main() {}
