//! A future that holds an `Rc` across an `.await`.
#![allow(unused)]

use std::rc::Rc;

use listener::notification_endpoint;

#[derive(Default)]
struct Billing;

#[notification_endpoint]
impl Billing {
    async fn info(&self) {
    //~      ^^^^
        let held = Rc::new(1);
        std::future::ready(()).await;
        drop(held);
    }
}

fn main() {}
