//! A future that holds a mutex guard across an `.await`.
#![allow(unused)]

use std::sync::Mutex;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing {
    seen: Mutex<u8>,
}

#[notification_endpoint]
impl Billing {
    async fn info(&self) {
    //~      ^^^^
        let held = self.seen.lock();
        std::future::ready(()).await;
        drop(held);
    }
}

fn main() {}
